#include "models/gpt2/gpt2_stash.h"

#include "models/gpt2/gpt2_parameters.h"

namespace smp::models {

namespace {

constexpr std::int64_t kStatisticBytes = 4;

/// Bytes of the tensors that a rank of b sequences of length T holds. N' = N, or N/tp where rows are sharded.
struct Sizes {
    std::int64_t vector;     // [N'], fp32 in every precision
    std::int64_t residual;   // [N', h]
    std::int64_t attended;   // [N, H·d], this rank's heads
    std::int64_t logsumexp;  // [b, H, T], fp32 in every precision
    std::int64_t inner;      // [N, inner], this rank's columns
};

Sizes sizes(const ModelOptions& options, int tensor_degree, std::int64_t sequences, std::int64_t length,
            const ActivationStorage& storage) {
    const Gpt2Shard shard = gpt2_shard(options, tensor_degree, 0);
    const std::int64_t all = sequences * length, element = partition::value_bytes(storage.precision);
    const std::int64_t own = gpt2_boundary_rows(tensor_degree, sequences, length, storage.optimize);
    return {.vector = kStatisticBytes * own,
            .residual = element * own * options.n_embd,
            .attended = element * all * shard.heads * shard.head_width,
            .logsumexp = kStatisticBytes * all * shard.heads,
            .inner = element * all * shard.inner};
}

}  // namespace

ActivationStorage storage_of(const partition::ParallelOptions& options) {
    return {.optimize = options.optimize,
            .precision = partition::precision_of(options),
            .recomputes_cheap = partition::recomputes_selectively(options)};
}

std::vector<StashEntry> gpt2_stash(const ModelOptions& options, int tensor_degree, int module, std::int64_t sequences,
                                   std::int64_t length, ActivationStorage storage) {
    const auto [vector, residual, attended, logsumexp, inner] =
        sizes(options, tensor_degree, sequences, length, storage);
    if (module == 0) return {};  // the tokens are the microbatch's
    const bool keeps_all = !storage.recomputes_cheap;
    std::vector<StashEntry> entries;
    if (module == gpt2_module_count(options) - 1) {
        entries = {{"input", residual}, {"ln_f.mean", vector}, {"ln_f.rstd", vector}};
        if (keeps_all) entries.push_back({"ln_f", residual});
        return entries;
    }
    entries = {{"input", residual},        {"ln_1.mean", vector},       {"ln_1.rstd", vector},
               {"attn.qkv", 3 * attended}, {"attn.attended", attended}, {"attn.logsumexp", logsumexp}};
    if (keeps_all) entries.push_back({"ln_1", residual});
    entries.insert(entries.end(),
                   {{"middle", residual}, {"ln_2.mean", vector}, {"ln_2.rstd", vector}, {"mlp.before_gelu", inner}});
    if (keeps_all) entries.insert(entries.end(), {{"ln_2", residual}, {"mlp.after_gelu", inner}});
    return entries;
}

std::vector<StashEntry> gpt2_deferred(const ModelOptions& options, int tensor_degree, int module,
                                      std::int64_t sequences, std::int64_t length, ActivationStorage storage) {
    const auto [vector, residual, attended, logsumexp, inner] =
        sizes(options, tensor_degree, sequences, length, storage);
    if (module == 0) return {{"gradient", residual}};
    if (module == gpt2_module_count(options) - 1) return {};
    return {
        {"ln_1", residual},          {"attn.qkv.gradient", 3 * attended},
        {"attn.attended", attended}, {"attn.branch.gradient", residual},
        {"ln_2", residual},          {"mlp.before_gelu.gradient", inner},
        {"mlp.after_gelu", inner},   {"mlp.branch.gradient", residual},
    };
}

std::int64_t gpt2_boundary_rows(int tensor_degree, std::int64_t sequences, std::int64_t length,
                                partition::Optimize optimize) {
    return sequences * length / (optimize == partition::Optimize::memory ? tensor_degree : 1);
}

std::int64_t gpt2_boundary_bytes(const ModelOptions& options, int tensor_degree, std::int64_t sequences,
                                 std::int64_t length, ActivationStorage storage) {
    return gpt2_boundary_rows(tensor_degree, sequences, length, storage.optimize) * options.n_embd *
           partition::value_bytes(storage.precision);
}

}  // namespace smp::models
