#include "models/kernels/product.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <xmmintrin.h>

#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

namespace {

// Operands are copied into panels that a tile reads in order (Goto and van de Geijn, "Anatomy of high-performance
// matrix multiplication", 2008): a panel of b stays in the first-level cache, a block of a in the second.
constexpr std::int64_t kTerms = 256;  // part of the promise in product.h
constexpr std::int64_t kBlockRows = 96;
constexpr std::int64_t kBlockColumns = 1024;

ProductKernel best_kernel() {
    if (__builtin_cpu_supports("avx512f")) return product_kernel_avx512();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return product_kernel_avx2();
    return product_kernel_portable();
}

struct Release {
    void operator()(float* data) const { ::operator delete[](data, std::align_val_t{64}); }
};
using Panels = std::unique_ptr<float[], Release>;

Panels make_panels(std::int64_t count) {
    return Panels(
        static_cast<float*>(::operator new[](static_cast<std::size_t>(count) * sizeof(float), std::align_val_t{64})));
}

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// Copies `count` lines of `terms` values into panels of `width` lines, term by term; lines that are not there become
/// 0. Value (line, term) is data[line · line_stride + term · term_stride]; one of the strides is 1.
void pack(float* panels, const float* data, std::int64_t line_stride, std::int64_t term_stride, std::int64_t count,
          std::int64_t terms, std::int64_t width) {
    for (std::int64_t first = 0; first < count; first += width, panels += width * terms) {
        const float* source = data + first * line_stride;
        const std::int64_t lines = std::min(width, count - first);
        if (lines < width) std::fill_n(panels, width * terms, 0.0F);
        if (line_stride == 1) {
            if (lines == 16 && width == 16) {
                for (std::int64_t t = 0; t < terms; ++t)
                    std::memcpy(panels + t * 16, source + t * term_stride, 16 * sizeof(float));
            } else if (lines == 6 && width == 6) {
                for (std::int64_t t = 0; t < terms; ++t)
                    std::memcpy(panels + t * 6, source + t * term_stride, 6 * sizeof(float));
            } else {
                for (std::int64_t t = 0; t < terms; ++t)
                    std::copy_n(source + t * term_stride, lines, panels + t * width);
            }
            continue;
        }
        // Lines lie along the terms: transpose 4 by 4.
        std::int64_t line = 0;
        for (; line + 4 <= lines; line += 4) {
            const float* from = source + line * line_stride;
            float* to = panels + line;
            std::int64_t t = 0;
            for (; t + 4 <= terms; t += 4, from += 4, to += 4 * width) {
                __m128 r0 = _mm_loadu_ps(from);
                __m128 r1 = _mm_loadu_ps(from + line_stride);
                __m128 r2 = _mm_loadu_ps(from + 2 * line_stride);
                __m128 r3 = _mm_loadu_ps(from + 3 * line_stride);
                _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
                _mm_storeu_ps(to, r0);
                _mm_storeu_ps(to + width, r1);
                _mm_storeu_ps(to + 2 * width, r2);
                _mm_storeu_ps(to + 3 * width, r3);
            }
            for (; t < terms; ++t, ++from, to += width)
                for (std::int64_t i = 0; i < 4; ++i) to[i] = from[i * line_stride];
        }
        for (; line < lines; ++line)
            for (std::int64_t t = 0; t < terms; ++t) panels[t * width + line] = source[line * line_stride + t];
    }
}

/// Where a tile starts from; row i at data + i · stride.
struct TileStart {
    const float* data = nullptr;
    std::int64_t stride = 0;
};

/// A tile at the edge of c: through a whole one on the stack.
void edge_tile(const ProductKernel& kernel, std::int64_t terms, const float* a, const float* b, float* c,
               std::int64_t c_stride, TileStart start, std::int64_t rows, std::int64_t columns) {
    constexpr std::int64_t kLargest = 12 * 32;
    float whole[kLargest];
    kernel.tile(terms, a, b, whole, kernel.columns, nullptr, 0);
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) {
            const float sum = whole[i * kernel.columns + j];
            c[i * c_stride + j] = start.data == nullptr ? sum : start.data[i * start.stride + j] + sum;
        }
}

}  // namespace

void multiply(const Product& p) {
    static const ProductKernel kernel = best_kernel();
    if (p.k == 0) {
        for (std::int64_t i = 0; i < p.m; ++i)
            for (std::int64_t j = 0; j < p.n; ++j)
                if (p.start != Start::sum) p.c[i * p.c_stride + j] = p.start == Start::bias ? p.bias[j] : 0;
        return;
    }
    const std::int64_t most_terms = std::min(kTerms, p.k);
    const Panels a = make_panels(round_up(std::min(kBlockRows, p.m), kernel.rows) * most_terms);
    const Panels b = make_panels(round_up(std::min(kBlockColumns, p.n), kernel.columns) * most_terms);
    for (std::int64_t column = 0; column < p.n; column += kBlockColumns)
        for (std::int64_t term = 0; term < p.k; term += kTerms) {
            const std::int64_t columns = std::min(kBlockColumns, p.n - column), terms = std::min(kTerms, p.k - term);
            pack(b.get(), p.b.data + term * p.b.row_stride + column * p.b.column_stride, p.b.column_stride,
                 p.b.row_stride, columns, terms, kernel.columns);
            for (std::int64_t row = 0; row < p.m; row += kBlockRows) {
                const std::int64_t rows = std::min(kBlockRows, p.m - row);
                pack(a.get(), p.a.data + row * p.a.row_stride + term * p.a.column_stride, p.a.row_stride,
                     p.a.column_stride, rows, terms, kernel.rows);
                for (std::int64_t j = 0; j < columns; j += kernel.columns)
                    for (std::int64_t i = 0; i < rows; i += kernel.rows) {
                        float* c = p.c + (row + i) * p.c_stride + column + j;
                        TileStart start{c, p.c_stride};
                        if (term == 0 && p.start == Start::zero) start = {};
                        if (term == 0 && p.start == Start::bias) start = {p.bias + column + j, 0};
                        const float *a_panel = a.get() + i * terms, *b_panel = b.get() + j * terms;
                        if (i + kernel.rows <= rows && j + kernel.columns <= columns)
                            kernel.tile(terms, a_panel, b_panel, c, p.c_stride, start.data, start.stride);
                        else
                            edge_tile(kernel, terms, a_panel, b_panel, c, p.c_stride, start,
                                      std::min(kernel.rows, rows - i), std::min(kernel.columns, columns - j));
                    }
            }
        }
}

Product part_of(const Product& whole, std::int64_t row, std::int64_t m, std::int64_t column, std::int64_t n) {
    Product part = whole;
    part.m = m;
    part.n = n;
    part.a.data += row * whole.a.row_stride;
    part.b.data += column * whole.b.column_stride;
    part.c += row * whole.c_stride + column;
    if (part.bias != nullptr) part.bias += column;
    return part;
}

}  // namespace smp::models::kernels
