#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"

namespace smp::models::kernels::cuda {

namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void rows_of_table(T* out, const std::int64_t* tokens, const T* table, Matrix shape, std::int64_t first,
                              std::int64_t held) {
    const std::int64_t n = blockIdx.x, row = tokens[n] - first;
    const bool is_here = row >= 0 && row < held;
    for (std::int64_t i = threadIdx.x; i < shape.width; i += kThreads)
        out[n * shape.width + i] = is_here ? table[row * shape.width + i] : stored<T>(0.0F);
}

constexpr int kAtOnce = 8;

/// Blocks for each place n of the batch, one for kThreads columns. Where its token stands nowhere before, a block adds
/// the gradients of all places of that token in ascending order, and nobody else touches its part of that row of the
/// table. Tokens are looked through kThreads at a time.
template <class T>
__global__ void token_gradient(float* dtable, const T* dy, const std::int64_t* tokens, Matrix shape, std::int64_t first,
                               std::int64_t held) {
    __shared__ bool is_same[kThreads];
    __shared__ int places[kThreads];  // of the same token, ascending
    const auto own = static_cast<int>(threadIdx.x);
    const std::int64_t n = blockIdx.x, token = tokens[n], row = token - first;
    if (row < 0 || row >= held) return;
    for (std::int64_t begin = 0; begin < n; begin += kThreads) {
        const std::int64_t m = begin + own;
        if (__syncthreads_or(m < n && tokens[m] == token ? 1 : 0) != 0) return;
    }
    const std::int64_t column = std::int64_t{blockIdx.y} * kThreads + own;
    float sum = column < shape.width ? dtable[row * shape.width + column] : 0.0F;
    for (std::int64_t begin = n; begin < shape.rows; begin += kThreads) {
        const std::int64_t m = begin + own;
        is_same[own] = m < shape.rows && tokens[m] == token;
        if (__syncthreads_or(is_same[own] ? 1 : 0) == 0) continue;
        int before = 0, count = 0;
        for (int place = 0; place < kThreads; ++place) {
            if (place < own && is_same[place]) ++before;
            if (is_same[place]) ++count;
        }
        if (is_same[own]) places[before] = own;
        __syncthreads();
        if (column < shape.width) {
            const T* from = dy + begin * shape.width + column;
            int k = 0;
            for (; k + kAtOnce <= count; k += kAtOnce) {  // so many reads under way
                float terms[kAtOnce];
                SMP_UNROLLED
                for (int i = 0; i < kAtOnce; ++i) terms[i] = to_float(from[places[k + i] * shape.width]);
                SMP_UNROLLED
                for (const float term : terms) sum += term;
            }
            for (; k < count; ++k) sum += to_float(from[places[k] * shape.width]);
        }
        __syncthreads();
    }
    if (column < shape.width) dtable[row * shape.width + column] = sum;
}

template <class T>
__global__ void sum_with_positions(T* x, const T* table, Matrix shape, std::int64_t first_row, std::int64_t length) {
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= shape.rows * shape.width) return;
    const std::int64_t position = (first_row + i / shape.width) % length;
    x[i] = stored<T>(to_float(x[i]) + to_float(table[position * shape.width + i % shape.width]));
}

template <class T>
__global__ void position_gradient(float* dtable, const T* dy, std::int64_t sequences, std::int64_t places) {
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= places) return;
    float sum = dtable[i];
    for (std::int64_t s = 0; s < sequences; ++s) sum += to_float(dy[s * places + i]);
    dtable[i] = sum;
}

}  // namespace

void embed_tokens(Elements out, const std::int64_t* tokens, ConstElements table, Matrix shape, std::int64_t first,
                  std::int64_t held, void* stream) {
    with_type(table.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(rows_of_table<T>, blocks_for(shape.rows, 1), kThreads, stream, as<T>(out), tokens, as<T>(table), shape,
               first, held);
    });
}

void add_positions(Elements x, ConstElements table, Matrix shape, std::int64_t first_row, std::int64_t length,
                   void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(sum_with_positions<T>, blocks_for(shape.rows * shape.width, kThreads), kThreads, stream, as<T>(x),
               as<T>(table), shape, first_row, length);
    });
}

void accumulate_token_gradient(float* dtable, ConstElements dy, const std::int64_t* tokens, Matrix shape,
                               std::int64_t first, std::int64_t held, void* stream) {
    with_type(dy.storage, [&](auto zero) {
        using T = decltype(zero);
        const dim3 blocks(blocks_for(shape.rows, 1), blocks_for(shape.width, kThreads));
        launch(token_gradient<T>, blocks, kThreads, stream, dtable, as<T>(dy), tokens, shape, first, held);
    });
}

void accumulate_position_gradient(float* dtable, ConstElements dy, std::int64_t sequences, std::int64_t length,
                                  std::int64_t width, void* stream) {
    with_type(dy.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(position_gradient<T>, blocks_for(length * width, kThreads), kThreads, stream, dtable, as<T>(dy),
               sequences, length * width);
    });
}

}  // namespace smp::models::kernels::cuda
