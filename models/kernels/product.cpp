#include "models/kernels/product.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <xmmintrin.h>

#include "models/kernels/product_tile.h"

namespace smp::models::kernels {

namespace {

// Operands are copied into panels that a tile reads in order (Goto and van de Geijn, "Anatomy of high-performance
// matrix multiplication", 2008): a panel of b stays in the first-level cache, a block of a in the second.
constexpr std::int64_t kTerms = 256;  // part of the promise in product.h
constexpr std::int64_t kBlockRows = 96;
constexpr std::int64_t kBlockColumns = 1024;
constexpr std::int64_t kRoundedRows = 384;  // of a 16-bit result, whose fp32 sums are all kept until they are complete

ProductKernel widest_kernel() {
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

/// Copies `count` ≤ `width` lines of `terms` values into a panel, term by term; lines that are not there become 0.
/// Value (line, term) is data[line · line_stride + term · term_stride]; one of the strides is 1.
void pack_panel(float* panel, const float* data, std::int64_t line_stride, std::int64_t term_stride, std::int64_t count,
                std::int64_t terms, std::int64_t width) {
    if (count < width) std::fill_n(panel, width * terms, 0.0F);
    if (line_stride == 1) {
        const auto copy = [&](auto lines) {
            for (std::int64_t t = 0; t < terms; ++t)
                std::memcpy(panel + t * width, data + t * term_stride, lines * sizeof(float));
        };
        switch (count) {  // constants become a few vector moves
            case 4: return copy(std::integral_constant<std::size_t, 4>());
            case 16: return copy(std::integral_constant<std::size_t, 16>());
            case 24: return copy(std::integral_constant<std::size_t, 24>());
            case 32: return copy(std::integral_constant<std::size_t, 32>());
            default: return copy(static_cast<std::size_t>(count));
        }
    }
    // Lines lie along the terms: transpose 4 by 4.
    std::int64_t line = 0;
    for (; line + 4 <= count; line += 4) {
        const float* from = data + line * line_stride;
        float* to = panel + line;
        std::int64_t t = 0;
        for (; t + 4 <= terms; t += 4, from += 4, to += 4 * width) {
            if (t % 16 == 0)  // a cache line of each of the next lines, which lie in other pages
                for (std::int64_t i = 4; i < 8; ++i) __builtin_prefetch(from + i * line_stride);
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
    for (; line < count; ++line)
        for (std::int64_t t = 0; t < terms; ++t) panel[t * width + line] = data[line * line_stride + t];
}

/// Copies rows of fp32 a, which begins at `data`, into panels of `height` rows.
void pack_fp32_rows(float* panels, const float* data, const MatrixView& a, std::int64_t rows, std::int64_t terms,
                    std::int64_t height) {
    std::int64_t i = 0;
    if (a.row_stride == 1 && height == 4)  // rows lie side by side: four panels at once, a whole cache line each time
        for (; i + 16 <= rows; i += 16)
            for (std::int64_t t = 0; t < terms; ++t)
                for (std::int64_t panel = 0; panel < 4; ++panel)
                    std::memcpy(panels + i * terms + (panel * terms + t) * 4,
                                data + i + 4 * panel + t * a.column_stride, 4 * sizeof(float));
    for (; i < rows; i += height)
        pack_panel(panels + i * terms, data + i * a.row_stride, a.row_stride, a.column_stride,
                   std::min(height, rows - i), terms, height);
}

/// The same of a [rows, terms] of any storage. `wide`: room for kBlockRows · kTerms values.
void pack_rows(float* panels, float* wide, const MatrixView& a, std::int64_t rows, std::int64_t terms,
               std::int64_t height) {
    const ConstElements from{a.data, a.storage};
    if (a.storage == Storage::fp32) return pack_fp32_rows(panels, from.fp32(), a, rows, terms, height);
    if (a.row_stride == 1) {
        load(wide, kBlockRows, from, a.column_stride, {.rows = terms, .columns = rows});
        pack_fp32_rows(panels, wide, {.data = wide, .row_stride = 1, .column_stride = kBlockRows}, rows, terms, height);
    } else {
        load(wide, kTerms, from, a.row_stride, {.rows = rows, .columns = terms});
        pack_fp32_rows(panels, wide, {.data = wide, .row_stride = kTerms, .column_stride = 1}, rows, terms, height);
    }
}

/// A panel of b [terms, count] of any storage. `wide`: room for `width` · kTerms values.
void pack_columns(float* panel, float* wide, const MatrixView& b, std::int64_t count, std::int64_t terms,
                  std::int64_t width) {
    const ConstElements from{b.data, b.storage};
    if (b.storage == Storage::fp32)
        return pack_panel(panel, from.fp32(), b.column_stride, b.row_stride, count, terms, width);
    if (b.column_stride == 1) {
        if (count < width) std::fill_n(panel, width * terms, 0.0F);
        load(panel, width, from, b.row_stride, {.rows = terms, .columns = count});
    } else {
        load(wide, kTerms, from, b.column_stride, {.rows = count, .columns = terms});
        pack_panel(panel, wide, kTerms, 1, count, terms, width);
    }
}

/// Width of the next panel of b, with `columns` left: wide, but narrow where that covers the rest with less.
std::int64_t panel_width(const ProductKernel& kernel, std::int64_t columns) {
    const bool narrow =
        columns <= kernel.narrow_columns || (columns > kernel.wide_columns && columns <= 2 * kernel.narrow_columns);
    return narrow ? kernel.narrow_columns : kernel.wide_columns;
}

/// Where a tile starts from; row i at data + i · stride.
struct TileStart {
    const float* data = nullptr;
    std::int64_t stride = 0;
};

/// A block of c: panels of a (`rows` rows) times one panel of b.
struct Block {
    std::int64_t terms = 0, rows = 0, columns = 0, width = 0;
    const float *a = nullptr, *b = nullptr;
    float* c = nullptr;
    std::int64_t c_stride = 0;
    TileStart start;
};

void multiply_block(const ProductKernel& kernel, const Block& block) {
    const ProductTile tile = block.width == kernel.wide_columns ? kernel.wide : kernel.narrow;
    for (std::int64_t i = 0; i < block.rows; i += kernel.rows) {
        const float* a = block.a + i * block.terms;
        float* c = block.c + i * block.c_stride;
        const float* start = block.start.data == nullptr ? nullptr : block.start.data + i * block.start.stride;
        if (i + kernel.rows <= block.rows && block.columns == block.width) {
            tile(block.terms, a, block.b, c, block.c_stride, start, block.start.stride);
            continue;
        }
        constexpr std::int64_t kLargest = 12 * 32;  // at the edge of c: a whole tile on the stack
        float whole[kLargest];
        tile(block.terms, a, block.b, whole, block.width, nullptr, 0);
        for (std::int64_t y = 0; y < std::min(kernel.rows, block.rows - i); ++y)
            for (std::int64_t x = 0; x < block.columns; ++x) {
                const float sum = whole[y * block.width + x];
                c[y * block.c_stride + x] = start == nullptr ? sum : start[y * block.start.stride + x] + sum;
            }
    }
}

/// c = what each element starts from, where there is nothing to add.
void fill_start(const Product& p, float* c) {
    for (std::int64_t i = 0; i < p.m; ++i)
        for (std::int64_t j = 0; j < p.n; ++j)
            if (p.start != Start::sum) c[i * p.c_stride + j] = p.start == Start::bias ? p.bias[j] : 0;
}

MatrixView part_of(const MatrixView& whole, std::int64_t row, std::int64_t column) {
    MatrixView part = whole;
    part.data = whole.at(row, column).data;
    return part;
}

/// Into fp32 c, which is p.c.
void multiply_in_fp32(const Product& p, float* whole_c) {
    const ProductKernel& kernel = best_product_kernel();
    if (p.k == 0) return fill_start(p, whole_c);
    const std::int64_t most_terms = std::min(kTerms, p.k);
    const Panels a = make_panels(round_up(std::min(kBlockRows, p.m), kernel.rows) * most_terms);
    const Panels b = make_panels((std::min(kBlockColumns, p.n) + kernel.wide_columns) * most_terms);
    const bool widens = p.a.storage != Storage::fp32 || p.b.storage != Storage::fp32;
    const Panels wide = make_panels(widens ? kBlockRows * kTerms : 0);
    for (std::int64_t column = 0; column < p.n; column += kBlockColumns)
        for (std::int64_t term = 0; term < p.k; term += kTerms) {
            const std::int64_t columns = std::min(kBlockColumns, p.n - column), terms = std::min(kTerms, p.k - term);
            for (std::int64_t j = 0, width = 0; j < columns; j += width) {
                width = panel_width(kernel, columns - j);
                pack_columns(b.get() + j * terms, wide.get(), part_of(p.b, term, column + j),
                             std::min(width, columns - j), terms, width);
            }
            for (std::int64_t row = 0; row < p.m; row += kBlockRows) {
                const std::int64_t rows = std::min(kBlockRows, p.m - row);
                pack_rows(a.get(), wide.get(), part_of(p.a, row, term), rows, terms, kernel.rows);
                for (std::int64_t j = 0, width = 0; j < columns; j += width) {
                    width = panel_width(kernel, columns - j);
                    float* c = whole_c + row * p.c_stride + column + j;
                    TileStart start{c, p.c_stride};
                    if (term == 0 && p.start == Start::zero) start = {};
                    if (term == 0 && p.start == Start::bias) start = {p.bias + column + j, 0};
                    multiply_block(kernel, {.terms = terms,
                                            .rows = rows,
                                            .columns = std::min(width, columns - j),
                                            .width = width,
                                            .a = a.get(),
                                            .b = b.get() + j * terms,
                                            .c = c,
                                            .c_stride = p.c_stride,
                                            .start = start});
                }
            }
        }
}

/// Into 16-bit c: block by block, since the sums of a block over all terms are made in fp32.
void multiply_and_round(const Product& p) {
    if (p.start == Start::sum) throw std::logic_error("multiply: sums are not kept in 16 bits");
    const std::int64_t most_rows = std::min(kRoundedRows, p.m), most_columns = std::min(kBlockColumns, p.n);
    const Panels sums = make_panels(most_rows * most_columns);
    for (std::int64_t row = 0; row < p.m; row += most_rows)
        for (std::int64_t column = 0; column < p.n; column += most_columns) {
            Product block =
                part_of(p, row, std::min(most_rows, p.m - row), column, std::min(most_columns, p.n - column));
            const Elements to{block.c, p.c_storage};
            block.c = sums.get();
            block.c_stride = most_columns;
            block.c_storage = Storage::fp32;
            multiply_in_fp32(block, sums.get());
            store(to, p.c_stride, sums.get(), most_columns, {.rows = block.m, .columns = block.n});
        }
}

}  // namespace

const ProductKernel& best_product_kernel() {
    static const ProductKernel kernel = widest_kernel();
    return kernel;
}

void multiply(const Product& p) {
    if (p.c_storage == Storage::fp32)
        multiply_in_fp32(p, static_cast<float*>(p.c));
    else
        multiply_and_round(p);
}

Product part_of(const Product& whole, std::int64_t row, std::int64_t m, std::int64_t column, std::int64_t n) {
    Product part = whole;
    part.m = m;
    part.n = n;
    part.a = part_of(whole.a, row, 0);
    part.b = part_of(whole.b, 0, column);
    part.c = Elements{whole.c, whole.c_storage}.from(row * whole.c_stride + column).data;
    if (part.bias != nullptr) part.bias += column;
    return part;
}

}  // namespace smp::models::kernels
