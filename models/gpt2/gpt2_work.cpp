#include "models/gpt2/gpt2_work.h"

#include <algorithm>

#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_spec.h"
#include "models/gpt2/gpt2_stash.h"

namespace smp::models {

namespace {

double product_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace

ModuleWork gpt2_work(const Gpt2Options& options, int module, const MicrobatchShare& share) {
    const Gpt2Shard shard = gpt2_shard(options, share.tensor_degree, 0);
    const std::int64_t rows = share.rows();  // N
    const std::int64_t h = options.n_embd, attended = shard.heads * shard.head_width;
    if (module == 0) return {};
    if (module == gpt2_module_count(options) - 1)
        return {.backward_flops = 3 * product_flops(rows, shard.vocabulary, h),
                // In fp32 in every precision.
                .logits_bytes = 4 * std::min(rows, logits_rows(share.storage, shard.vocabulary)) * shard.vocabulary};
    const double linear = product_flops(rows, 3 * attended, h) + product_flops(rows, h, attended) +
                          product_flops(rows, shard.inner, h) + product_flops(rows, h, shard.inner);
    const double attention = 2 * product_flops(rows, share.length, attended);  // q·kᵀ and p·v
    return {.is_layer = true,
            .forward_flops = linear + attention,
            .backward_flops = 2 * (linear + attention),
            .weight_flops = linear};
}

double model_flops_per_token(const Gpt2Options& options, std::int64_t length) {
    return 6.0 * static_cast<double>(parameter_count(Gpt2(options))) + 12.0 * static_cast<double>(options.n_layer) *
                                                                           static_cast<double>(options.n_embd) *
                                                                           static_cast<double>(length);
}

}  // namespace smp::models
