// Products of matrices on the CPU, whose bits depend on the operands alone. Arithmetic is in fp32 whatever they are
// stored in: 16-bit operands are widened as they are copied, a 16-bit result is rounded once at the end. No LibTorch
// header.
//
// c[i][j] = start + s_0 + s_1 + … added in this order, where s_t = fma(a[i][k], b[k][j], …) is a chain over k = 256 t …
// 256 t + 255 in ascending order that starts from 0. So an element has the same bits whatever the shape it is part of,
// however the work is cut over threads, wherever the operands lie in memory, and on any processor with fused
// multiply-add. That is why this is not a vendor's library, whose bits depend on shape, alignment and number of
// threads; it is no slower (tests/benchmarks/kernels_benchmark.cpp).
#pragma once

#include <cstdint>

#include "models/kernels/storage.h"

namespace smp::models::kernels {

/// Element (i, j) is data[i · row_stride + j · column_stride]; one of the strides is 1.
struct MatrixView {
    const void* data = nullptr;
    std::int64_t row_stride = 0, column_stride = 1;
    Storage storage = Storage::fp32;

    ConstElements at(std::int64_t row, std::int64_t column) const {
        return ConstElements{data, storage}.from(row * row_stride + column * column_stride);
    }
};

enum class Start { zero, bias, sum };  // of each element: 0, bias[j], or what c holds already

struct Product {
    std::int64_t m = 0, n = 0, k = 0;
    MatrixView a, b;    // [m, k], [k, n]
    void* c = nullptr;  // [m, n], may overlap neither a nor b
    std::int64_t c_stride = 0;
    Storage c_storage = Storage::fp32;  // 16 bits: not with Start::sum
    Start start = Start::zero;
    const float* bias = nullptr;  // [n], where start says so
};

/// The product, on the calling thread.
void multiply(const Product& product);

/// Rows [row, row + m) and columns [column, column + n) of a product.
Product part_of(const Product& whole, std::int64_t row, std::int64_t m, std::int64_t column, std::int64_t n);

}  // namespace smp::models::kernels
