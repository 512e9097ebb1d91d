#include <cmath>

#include "models/kernels/cuda/launch.h"
#include "models/kernels/cuda/stored.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime::cuda {

namespace {

using namespace models::kernels::cuda;

constexpr int kThreads = 256;

/// The step's numbers as the arithmetic has them.
struct Factors {
    float kept;                 // what is left of a weight that decays
    float first, second;        // 1 − β₁, β₂
    float of_square;            // 1 − β₂
    float size, root, epsilon;  // rate over the first correction, root of the second
};

template <class T>
__global__ void update(float* value, T* rounded, const float* gradient, float* first, float* second, std::int64_t count,
                       Factors f, const StepDecision* decision) {
    const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= count || decision->updates == 0) return;
    const float g = gradient[i] * static_cast<float>(decision->factor);
    const float m = fmaf(g - first[i], f.first, first[i]);
    const float v = fmaf(f.second, second[i], f.of_square * g * g);
    const float w = value[i] * f.kept - f.size * m / (sqrtf(v) / f.root + f.epsilon);
    first[i] = m;
    second[i] = v;
    value[i] = w;
    if (rounded != nullptr) rounded[i] = stored<T>(w);
}

}  // namespace

void adamw(const AdamWBuffers& b, std::int64_t count, const AdamWStep& step, const StepDecision* decision,
           void* stream) {
    const auto n = static_cast<double>(step.update);
    Factors f{};
    f.kept = static_cast<float>(1 - step.learning_rate * step.weight_decay);
    f.first = static_cast<float>(1 - step.beta1);
    f.second = static_cast<float>(step.beta2);
    f.of_square = static_cast<float>(1 - step.beta2);
    f.size = static_cast<float>(step.learning_rate / (1 - std::pow(step.beta1, n)));
    f.root = static_cast<float>(std::sqrt(1 - std::pow(step.beta2, n)));
    f.epsilon = static_cast<float>(step.epsilon);
    with_type(b.rounded.storage, [&](auto zero) {
        using T = decltype(zero);
        launch(update<T>, blocks_for(count, kThreads), kThreads, stream, b.value, as<T>(b.rounded), b.gradient,
               b.first_moment, b.second_moment, count, f, decision);
    });
}

}  // namespace smp::runtime::cuda
