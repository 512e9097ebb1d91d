// What takes each element by itself, and the column sums of a linear layer's bias.
#include <type_traits>

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

__device__ float gelu_at(float v) { return v / (1.0F + exponential(v * fmaf(kGeluCubic, v * v, kGeluLinear))); }

__device__ float gelu_slope_at(float v) {
    const float square = v * v;
    const float e = exponential(v * fmaf(kGeluCubic, square, kGeluLinear));
    const float s = 1.0F / (1.0F + e);
    const float slope = -fmaf(3.0F * kGeluCubic, square, kGeluLinear);  // 2 du/dx
    return s * fmaf(v * slope, e * s, 1.0F);
}

/// A thread: kEach elements.
template <int kEach, class T>
__global__ void gelu_of(T* y, const T* x, std::int64_t count) {
    const std::int64_t first = element() * kEach;
    if (first >= count) return;
    Run<T, kEach> run = *reinterpret_cast<const Run<T, kEach>*>(x + first);
    SMP_UNROLLED
    for (T& value : run.at) value = stored<T>(gelu_at(to_float(value)));
    *reinterpret_cast<Run<T, kEach>*>(y + first) = run;
}

template <int kEach, class T>
__global__ void gelu_gradient(T* dx, const T* dy, const T* x, std::int64_t count) {
    const std::int64_t first = element() * kEach;
    if (first >= count) return;
    const Run<T, kEach> values = *reinterpret_cast<const Run<T, kEach>*>(x + first);
    Run<T, kEach> run = *reinterpret_cast<const Run<T, kEach>*>(dy + first);
    SMP_UNROLLED
    for (int i = 0; i < kEach; ++i) run.at[i] = stored<T>(to_float(run.at[i]) * gelu_slope_at(to_float(values.at[i])));
    *reinterpret_cast<Run<T, kEach>*>(dx + first) = run;
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

constexpr int kRowsOfThread = 8;
constexpr int kThreadRows = kThreads / kWarp;

/// A block: kWarp runs of a row, kRowsOfThread · kThreadRows rows.
template <int kEach, class T>
__global__ void rows_of(T* y, const T* bias, Matrix shape, unsigned blocks_of_row) {
    const std::int64_t column = (std::int64_t{blockIdx.x % blocks_of_row} * kWarp + threadIdx.x) * kEach;
    if (column >= shape.width) return;
    const Run<T, kEach> run = *reinterpret_cast<const Run<T, kEach>*>(bias + column);
    const std::int64_t first = std::int64_t{blockIdx.x / blocks_of_row} * kThreadRows * kRowsOfThread + threadIdx.y;
    for (int i = 0; i < kRowsOfThread; ++i) {
        const std::int64_t row = first + i * kThreadRows;
        if (row < shape.rows) *reinterpret_cast<Run<T, kEach>*>(y + row * shape.width + column) = run;
    }
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
__global__ void __launch_bounds__(kColumns* kColumnLanes) column_sums(float* sums, ColumnTerms<T> terms, Matrix shape) {
    float* const to[1] = {sums};
    add_column_sums(to, terms, shape);
}

/// f(how many elements a thread takes, as a type).
template <class F>
void with_runs(bool in_runs, const F& f) {
    if (in_runs)
        f(std::integral_constant<int, kRunLength>{});
    else
        f(std::integral_constant<int, 1>{});
}

}  // namespace

void gelu(Elements y, ConstElements x, std::int64_t count, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        with_runs(count % kRunLength == 0 && begin_runs(as<T>(y), as<T>(x)), [&](auto each) {
            launch(gelu_of<each(), T>, blocks_for(count, kThreads * each()), kThreads, stream, as<T>(y), as<T>(x),
                   count);
        });
    });
}

void gelu_backward(Elements dx, ConstElements dy, ConstElements x, std::int64_t count, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        with_runs(count % kRunLength == 0 && begin_runs(as<T>(dx), as<T>(dy), as<T>(x)), [&](auto each) {
            launch(gelu_gradient<each(), T>, blocks_for(count, kThreads * each()), kThreads, stream, as<T>(dx),
                   as<T>(dy), as<T>(x), count);
        });
    });
}

void fill_rows(Elements y, ConstElements bias, Matrix shape, void* stream) {
    with_type(y.storage, [&](auto zero) {
        using T = decltype(zero);
        with_runs(shape.width % kRunLength == 0 && begin_runs(as<T>(y), as<T>(bias)), [&](auto each) {
            const unsigned blocks_of_row = blocks_for(shape.width, kWarp * each());
            const std::int64_t blocks =
                std::int64_t{blocks_of_row} * blocks_for(shape.rows, kThreadRows * kRowsOfThread);
            launch(rows_of<each(), T>, blocks_for(blocks, 1), dim3(kWarp, kThreadRows), stream, as<T>(y), as<T>(bias),
                   shape, blocks_of_row);
        });
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
        launch(column_sums<T>, blocks_for(shape.width, kColumns), dim3(kColumns, kColumnLanes), stream, sums,
               ColumnTerms<T>{as<T>(dy), stride}, shape);
    });
}

}  // namespace smp::models::kernels::cuda
