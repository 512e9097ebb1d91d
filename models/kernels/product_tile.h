// The innermost step of a product: a tile of c in registers. Each instruction set has a file that compiles the same
// template.
#pragma once

#include <cstdint>

namespace smp::models::kernels {

/// c [rows, columns] = start + a · b over `k` terms, summed as product.h says. a: k groups of `rows` values; b: k
/// groups of `columns` values, aligned as a vector is. `start`: row i begins at start + i · start_stride; null: 0. It
/// may be c itself.
using ProductTile = void (*)(std::int64_t k, const float* a, const float* b, float* c, std::int64_t c_stride,
                             const float* start, std::int64_t start_stride);

/// An instruction set's tiles: wide ones, and narrow ones so that less is wasted at the last columns.
struct ProductKernel {
    const char* instructions = "";  // "AVX2"
    std::int64_t rows = 0, wide_columns = 0, narrow_columns = 0;
    ProductTile wide = nullptr, narrow = nullptr;
};

ProductKernel product_kernel_avx512();
ProductKernel product_kernel_avx2();
ProductKernel product_kernel_portable();  // rounds twice where the others fuse

/// The one that multiply() takes: of the widest vectors that this processor has.
const ProductKernel& best_product_kernel();

// Everything here is internal to the file that includes it: an inline function with the instructions of one set must
// not be linked into the others.
namespace {  // NOLINT(google-build-namespaces)

/// Instructions: a type Vector, and multiply_add(x, y, sum) = x · y + sum for a scalar x.
template <class Instructions, int kRows, int kVectors>
void product_tile(std::int64_t k, const float* a, const float* b, float* c, std::int64_t c_stride, const float* start,
                  std::int64_t start_stride) {
    using Vector = typename Instructions::Vector;
    constexpr int kWidth = sizeof(Vector) / sizeof(float);
    constexpr int kColumns = kWidth * kVectors;
    typedef Vector Unaligned __attribute__((aligned(4), may_alias));
    typedef Vector Aligned __attribute__((may_alias));

    for (int i = 0; i < kRows; ++i) {
        __builtin_prefetch(c + i * c_stride, 1);
        __builtin_prefetch(c + i * c_stride + kColumns - 1, 1);
    }
    Vector sum[kRows][kVectors] = {};
#pragma GCC unroll 4
    for (std::int64_t step = 0; step < k; ++step) {
        Vector column[kVectors];
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v)
            column[v] = *reinterpret_cast<const Aligned*>(b + step * kColumns + v * kWidth);
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v)
                sum[i][v] = Instructions::multiply_add(a[step * kRows + i], column[v], sum[i][v]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
            Vector value = sum[i][v];
            if (start != nullptr)
                value = *reinterpret_cast<const Unaligned*>(start + i * start_stride + v * kWidth) + value;
            *reinterpret_cast<Unaligned*>(c + i * c_stride + v * kWidth) = value;
        }
}

}  // namespace

}  // namespace smp::models::kernels
