// What takes each element by itself, and the column sums of a linear layer's bias.
#include "models/kernels/cuda/column_sums.h"
#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"
#include "models/kernels/gelu_formula.h"

namespace smp::models::kernels::cuda {

namespace {

constexpr int kThreads = 256;

__device__ std::int64_t element() { return std::int64_t{blockIdx.x} * kThreads + threadIdx.x; }

/// As on the CPU: what overflows counts as e^88.7.
__device__ float exponential(float x) { return expf(fminf(x, 88.7F)); }

template <class T>
__global__ void gelu_of(T* y, const T* x, std::int64_t count) {
    const std::int64_t i = element();
    if (i >= count) return;
    const float v = to_float(x[i]);
    y[i] = stored<T>(v / (1.0F + exponential(v * fmaf(kGeluCubic, v * v, kGeluLinear))));
}

template <class T>
__global__ void gelu_gradient(T* dx, const T* dy, const T* x, std::int64_t count) {
    const std::int64_t i = element();
    if (i >= count) return;
    const float v = to_float(x[i]), square = v * v;
    const float e = exponential(v * fmaf(kGeluCubic, square, kGeluLinear));
    const float s = 1.0F / (1.0F + e);
    const float slope = -fmaf(3.0F * kGeluCubic, square, kGeluLinear);  // 2 du/dx
    dx[i] = stored<T>(to_float(dy[i]) * (s * fmaf(v * slope, e * s, 1.0F)));
}

/// A thread: one Philox block, four columns 16 apart (DropoutMask). Without dropout the same columns.
template <class T>
__global__ void residual_sum(T* y, const T* residual, const T* branch, const T* bias, Matrix shape, RowDropout dropout,
                             std::int64_t runs_of_row) {
    const std::int64_t run = element();
    const std::int64_t row = run / runs_of_row;
    if (row >= shape.rows) return;
    const auto counter = static_cast<std::uint32_t>(run % runs_of_row);
    const std::int64_t first = std::int64_t{counter} / 16 * 64 + counter % 16;
    std::uint32_t words[4] = {};
    if (dropout.is_on) {
        const std::int64_t global = dropout.first_row + row;
        const std::uint64_t sequence = dropout.first_sequence + static_cast<std::uint64_t>(global / dropout.length);
        const PhiloxBlock x = philox({counter, static_cast<std::uint32_t>(global % dropout.length),
                                      static_cast<std::uint32_t>(sequence), static_cast<std::uint32_t>(sequence >> 32)},
                                     dropout.mask.key);
        words[0] = x.x0;
        words[1] = x.x1;
        words[2] = x.x2;
        words[3] = x.x3;
    }
    for (int word = 0; word < 4; ++word) {
        const std::int64_t column = first + 16 * word;
        if (column >= shape.width) return;
        const std::int64_t i = row * shape.width + column;
        const float b = bias == nullptr ? 0.0F : to_float(bias[column]);
        const float past = residual == nullptr ? 0.0F : to_float(residual[i]);
        const float kept = words[word] >= dropout.mask.threshold ? dropout.mask.scale : 0.0F;
        y[i] = stored<T>(dropout.is_on ? fmaf(kept, to_float(branch[i]) + b, past) : past + (to_float(branch[i]) + b));
    }
}

template <class T>
__global__ void rows_of(T* y, const T* bias, std::int64_t width, std::int64_t count) {
    const std::int64_t i = element();
    if (i < count) y[i] = bias[i % width];
}

template <class T>
struct ColumnTerms {
    const T* dy;
    std::int64_t stride;

    __device__ void operator()(float (&sums)[1], std::int64_t row, std::int64_t column) const {
        sums[0] += to_float(dy[row * stride + column]);
    }
};

template <class T>
__global__ void column_sums(float* sums, ColumnTerms<T> terms, Matrix shape) {
    float* const to[1] = {sums};
    add_column_sums(to, terms, shape);
}

}  // namespace

void gelu(Elements y, ConstElements x, std::int64_t count, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(gelu_of<T>, blocks_for(count, kThreads), kThreads, stream, as<T>(y), as<T>(x), count);
    });
}

void gelu_backward(Elements dx, ConstElements dy, ConstElements x, std::int64_t count, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(gelu_gradient<T>, blocks_for(count, kThreads), kThreads, stream, as<T>(dx), as<T>(dy), as<T>(x), count);
    });
}

void fill_rows(Elements y, ConstElements bias, Matrix shape, void* stream) {
    with_type(y.storage, [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t count = shape.rows * shape.width;
        launch(rows_of<T>, blocks_for(count, kThreads), kThreads, stream, as<T>(y), as<T>(bias), shape.width, count);
    });
}

void add_residual(Elements y, ConstElements residual, ConstElements branch, ConstElements bias, Matrix shape,
                  const RowDropout& dropout, void* stream) {
    const std::int64_t runs_of_row = (shape.width + 63) / 64 * 16;
    with_type(branch.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(residual_sum<T>, blocks_for(shape.rows * runs_of_row, kThreads), kThreads, stream, as<T>(y),
               as<T>(residual), as<T>(branch), as<T>(bias), shape, dropout, runs_of_row);
    });
}

void clear(void* data, std::size_t bytes, void* stream) {
    if (bytes == 0) return;
    const cudaError_t error = cudaMemsetAsync(data, 0, bytes, static_cast<cudaStream_t>(stream));
    if (error != cudaSuccess) throw std::runtime_error(std::string("cudaMemsetAsync: ") + cudaGetErrorString(error));
}

void accumulate_column_sums(float* sums, ConstElements dy, Matrix shape, std::int64_t stride, void* stream) {
    with_type(dy.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(column_sums<T>, blocks_for(shape.width, kWarp), dim3(kWarp, kColumnLanes), stream, sums,
               ColumnTerms<T>{as<T>(dy), stride}, shape);
    });
}

}  // namespace smp::models::kernels::cuda
