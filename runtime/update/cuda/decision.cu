// What a step's sums say, decided on the device, so that its update waits for no host.
#include <cmath>

#include "models/kernels/cuda/launch.h"
#include "runtime/state/limbs.h"
#include "runtime/state/norm_block.h"
#include "runtime/update/cuda/update_kernels.h"

namespace smp::runtime::cuda {

namespace {

using namespace models::kernels::cuda;

constexpr int kWords = Limbs::kCount + 1;

/// One thread: some microbatches' losses.
__global__ void closing(std::int64_t* words, const double* losses, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        const Limbs limbs = limbs_of(static_cast<std::uint64_t>(__double_as_longlong(losses[i])));
        if (!limbs.is_finite) {
            ++words[Limbs::kCount];
            continue;
        }
        for (int part = 0; part < 3; ++part) {
            const auto term = static_cast<std::int64_t>(limbs.parts[part]);
            words[limbs.first + part] += limbs.is_negative ? -term : term;
        }
    }
    pass_carries(words);
    pass_carries(words + kWords);
}

/// The sum; no number where a term was none. `limbs` is scratch.
__device__ double value_of(const std::int64_t* words, std::int64_t* limbs) {
    for (int i = 0; i < Limbs::kCount; ++i) limbs[i] = words[i];
    const auto bits = static_cast<long long>(rounded_bits(limbs));
    return words[Limbs::kCount] == 0 ? __longlong_as_double(bits) : __longlong_as_double(0x7ff8LL << 48);
}

__global__ void decision_of(StepDecision* decision, const std::int64_t* words, StepRule rule) {
    __shared__ std::int64_t limbs[Limbs::kCount];
    const double loss = value_of(words, limbs) / rule.tokens;
    const double norm = sqrt(value_of(words + kWords, limbs)) / rule.scale;
    const double largest = 1.7976931348623157e308;  // comparisons with what is no number are false
    const bool updates = fabs(loss) <= largest && norm <= largest;
    decision->updates = updates ? 1 : 0;
    decision->factor = updates ? clip_factor(norm, rule.max_norm) / rule.scale : 0;
}

}  // namespace

void close_sums(std::int64_t* words, const double* losses, std::int64_t count, void* stream) {
    launch(closing, 1, 1, stream, words, losses, count);
}

void decide(StepDecision* decision, const std::int64_t* words, const StepRule& rule, void* stream) {
    launch(decision_of, 1, 1, stream, decision, words, rule);
}

}  // namespace smp::runtime::cuda
