// A warp a row: each lane takes every 32nd column, so that reads are whole lines.
#include "models/kernels/cuda/column_sums.h"
#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"

namespace smp::models::kernels::cuda {

namespace {

template <class T>
__global__ void normalise(T* y, float* means, float* rstds, const T* x, const T* gain, const T* bias, Matrix shape,
                          double epsilon) {
    const std::int64_t row = row_of_warp();
    if (row >= shape.rows) return;
    const T* from = x + row * shape.width;
    const auto count = static_cast<float>(shape.width);
    float sum = 0;
    for (std::int64_t i = threadIdx.x; i < shape.width; i += kWarp) sum += to_float(from[i]);
    const float mean = warp_sum(sum) / count;
    float squares = 0;
    for (std::int64_t i = threadIdx.x; i < shape.width; i += kWarp) {
        const float away = to_float(from[i]) - mean;
        squares += away * away;
    }
    const float variance = warp_sum(squares) / count;
    const auto rstd = static_cast<float>(1 / sqrt(static_cast<double>(variance) + epsilon));
    for (std::int64_t i = threadIdx.x; i < shape.width; i += kWarp)
        y[row * shape.width + i] =
            stored<T>(fmaf((to_float(from[i]) - mean) * rstd, to_float(gain[i]), to_float(bias[i])));
    if (threadIdx.x == 0) {
        means[row] = mean;
        rstds[row] = rstd;
    }
}

/// With n = (x − mean) · rstd and g = ȳ · gain: x̄ = rstd · (g − mean(g) − n · mean(g · n)), plus the residual's
/// gradient.
template <class T>
__global__ void input_gradient(T* dx, const T* dy, const T* x, const float* means, const float* rstds, const T* gain,
                               const T* residual, Matrix shape) {
    const std::int64_t row = row_of_warp();
    if (row >= shape.rows) return;
    const std::int64_t begin = row * shape.width;
    const float mean = means[row], rstd = rstds[row];
    const auto count = static_cast<float>(shape.width);
    float plain = 0, along = 0;
    for (std::int64_t i = threadIdx.x; i < shape.width; i += kWarp) {
        const float g = to_float(dy[begin + i]) * to_float(gain[i]);
        plain += g;
        along += g * ((to_float(x[begin + i]) - mean) * rstd);
    }
    plain = warp_sum(plain) / count;
    along = warp_sum(along) / count;
    for (std::int64_t i = threadIdx.x; i < shape.width; i += kWarp) {
        const float g = fmaf(to_float(dy[begin + i]), to_float(gain[i]), -plain);
        const float inner = fmaf(-along, (to_float(x[begin + i]) - mean) * rstd, g);
        const float past = residual == nullptr ? 0.0F : to_float(residual[begin + i]);
        dx[begin + i] = stored<T>(fmaf(rstd, inner, past));
    }
}

template <class T>
struct WeightTerms {
    const T *dy, *x;
    const float *means, *rstds;
    std::int64_t width;

    __device__ void operator()(float (&sums)[2], std::int64_t row, std::int64_t column) const {
        const float g = to_float(dy[row * width + column]);
        sums[0] = fmaf(g, (to_float(x[row * width + column]) - means[row]) * rstds[row], sums[0]);
        sums[1] += g;
    }
};

template <class T>
__global__ void __launch_bounds__(kColumns* kColumnLanes)
    weight_gradients(float* dgain, float* dbias, WeightTerms<T> terms, Matrix shape) {
    float* const to[2] = {dgain, dbias};
    add_column_sums(to, terms, shape);
}

}  // namespace

void layer_norm(Elements y, float* mean, float* rstd, ConstElements x, ConstElements gain, ConstElements bias,
                Matrix shape, double epsilon, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(normalise<T>, blocks_for(shape.rows, kRows), dim3(kWarp, kRows), stream, as<T>(y), mean, rstd, as<T>(x),
               as<T>(gain), as<T>(bias), shape, epsilon);
    });
}

void layer_norm_backward_input(Elements dx, ConstElements dy, ConstElements x, const float* mean, const float* rstd,
                               ConstElements gain, ConstElements residual, Matrix shape, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(input_gradient<T>, blocks_for(shape.rows, kRows), dim3(kWarp, kRows), stream, as<T>(dx), as<T>(dy),
               as<T>(x), mean, rstd, as<T>(gain), as<T>(residual), shape);
    });
}

void layer_norm_backward_weight(float* dgain, float* dbias, ConstElements dy, ConstElements x, const float* mean,
                                const float* rstd, Matrix shape, void* stream) {
    with_type(x.storage, [&](auto zero) {
        using T = decltype(zero);
        const WeightTerms<T> terms{as<T>(dy), as<T>(x), mean, rstd, shape.width};
        launch(weight_gradients<T>, blocks_for(shape.width, kColumns), dim3(kColumns, kColumnLanes), stream, dgain,
               dbias, terms, shape);
    });
}

}  // namespace smp::models::kernels::cuda
