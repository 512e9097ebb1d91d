// A block a row: a row of logits is as long as the vocabulary.
#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"

namespace smp::models::kernels::cuda {

namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;

__device__ float infinity() { return __int_as_float(0x7F800000); }

__global__ void maxima_of(float* maxima, LogitRows logits) {
    __shared__ float of_warp[kWarps];
    const float* x = logits.data + std::int64_t{blockIdx.x} * logits.stride;
    float most = -infinity();
    for (std::int64_t i = threadIdx.x; i < logits.valid; i += kThreads) most = most < x[i] ? x[i] : most;
    most = warp_max(most);
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = most;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < kWarps; ++warp) most = most < of_warp[warp] ? of_warp[warp] : most;
    maxima[blockIdx.x] = most;
}

__global__ void sums_of(float* sums, LogitRows logits, const float* maxima, const std::int64_t* targets,
                        std::int64_t first) {
    __shared__ float of_warp[kWarps];
    const std::int64_t row = blockIdx.x, column = targets[row] - first;
    float* x = logits.data + row * logits.stride;
    const float most = maxima[row];
    const bool is_here = column >= 0 && column < logits.valid;
    // By the thread that overwrites that logit.
    if (is_here ? column % kThreads == threadIdx.x : threadIdx.x == 0)
        sums[logits.rows + row] = is_here ? x[column] - most : 0.0F;
    float sum = 0;
    for (std::int64_t i = threadIdx.x; i < logits.width; i += kThreads) {
        const float e = i < logits.valid ? expf(x[i] - most) : 0.0F;
        x[i] = e;
        sum += e;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < kWarps; ++warp) sum += of_warp[warp];
    sums[row] = sum;
}

/// Into the row's own memory, from its beginning: what is written over has been read, if all threads read before one
/// writes. kAtOnce elements a thread between two barriers.
template <class T>
__global__ void gradients_of(LogitRows exponentials, const float* sums, const std::int64_t* targets, std::int64_t first,
                             double scale) {
    constexpr int kAtOnce = 8;
    const std::int64_t row = blockIdx.x, column = targets[row] - first;
    const float* x = exponentials.data + row * exponentials.stride;
    T* to = reinterpret_cast<T*>(exponentials.data + row * exponentials.stride);
    const auto factor = static_cast<float>(scale / sums[row]);
    for (std::int64_t begin = threadIdx.x; begin - threadIdx.x < exponentials.width; begin += kAtOnce * kThreads) {
        float scaled[kAtOnce];
        SMP_UNROLLED
        for (int k = 0; k < kAtOnce; ++k) {
            const std::int64_t i = begin + k * kThreads;
            scaled[k] = i < exponentials.width ? x[i] * factor : 0.0F;
        }
        if constexpr (sizeof(T) < sizeof(float)) __syncthreads();
        SMP_UNROLLED
        for (int k = 0; k < kAtOnce; ++k) {
            const std::int64_t i = begin + k * kThreads;
            if (i < exponentials.width)
                to[i] = stored<T>(i == column ? scaled[k] - static_cast<float>(scale) : scaled[k]);
        }
    }
}

/// One block: each thread adds every kThreads-th row, then the threads' sums are added in their order.
__global__ void loss_of(double* loss, const float* sums, std::int64_t rows) {
    __shared__ double of_thread[kThreads];
    double sum = 0;
    for (std::int64_t row = threadIdx.x; row < rows; row += kThreads)
        sum += log(static_cast<double>(sums[row])) - static_cast<double>(sums[rows + row]);
    of_thread[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int thread = 1; thread < kThreads; ++thread) sum += of_thread[thread];
    *loss += sum;
}

}  // namespace

void add_cross_entropy(double* sum, const float* sums, std::int64_t rows, void* stream) {
    launch(loss_of, 1, kThreads, stream, sum, sums, rows);
}

void row_maxima(float* maxima, LogitRows logits, void* stream) {
    launch(maxima_of, blocks_for(logits.rows, 1), kThreads, stream, maxima, logits);
}

void exponential_sums(float* sums, LogitRows logits, const float* maxima, const std::int64_t* targets,
                      std::int64_t first, void* stream) {
    launch(sums_of, blocks_for(logits.rows, 1), kThreads, stream, sums, logits, maxima, targets, first);
}

void cross_entropy_gradient(LogitRows exponentials, const float* sums, const std::int64_t* targets, std::int64_t first,
                            double scale, Storage storage, void* stream) {
    with_type(storage, [&](auto zero) {
        launch(gradients_of<decltype(zero)>, blocks_for(exponentials.rows, 1), kThreads, stream, exponentials, sums,
               targets, first, scale);
    });
}

}  // namespace smp::models::kernels::cuda
