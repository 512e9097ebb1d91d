#include "models/gpt2/gpt2_stash.h"

#include <algorithm>
#include <stdexcept>

#include "models/gpt2/gpt2_parameters.h"

namespace smp::models {

std::int64_t logits_rows(const ActivationStorage& storage, std::int64_t vocabulary) {
    constexpr std::int64_t kLeast = 256, kMost = 8192, kBytes = std::int64_t{1} << 30;
    if (!storage.on_cuda) return kLeast;
    return std::clamp(kBytes / (4 * vocabulary) / kLeast * kLeast, kLeast, kMost);
}

std::vector<StashEntry> gpt2_stash(const Gpt2Options& options, int module, const MicrobatchShare& share) {
    constexpr std::int64_t kStatisticBytes = 4;
    const Gpt2Shard shard = gpt2_shard(options, share.tensor_degree, 0);
    const std::int64_t own = share.boundary_rows(), all = share.rows(), element = share.value_bytes();
    const auto bytes = [&](Gpt2Extent extent) {
        switch (extent) {
            case Gpt2Extent::vector: return kStatisticBytes * own;
            case Gpt2Extent::residual: return element * own * options.n_embd;
            case Gpt2Extent::qkv: return element * all * 3 * shard.heads * shard.head_width;
            case Gpt2Extent::attended: return element * all * shard.heads * shard.head_width;
            case Gpt2Extent::logsumexp: return kStatisticBytes * all * shard.heads;
            case Gpt2Extent::inner: return element * all * shard.inner;
        }
        throw std::logic_error("gpt2_stash: an extent without a size");
    };
    std::vector<StashEntry> entries;
    const auto add = [&](const auto& table) { declare(entries, table, share.storage.recomputes_cheap, bytes); };
    if (module == 0) {  // the tokens are the microbatch's
        add(kEmbeddingStash);
    } else if (module == gpt2_module_count(options) - 1) {
        add(kHeadStash);
    } else {
        add(kAttentionStash);
        add(kMlpStash);
    }
    return entries;
}

}  // namespace smp::models
