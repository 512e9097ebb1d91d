#include "models/gpt2_stash.h"

#include "models/gpt2_parameters.h"

namespace smp::models {

namespace {

constexpr std::int64_t kElementBytes = 4;  // fp32

/// Bytes of the tensors that a rank of b sequences of length T holds.
struct Sizes {
    std::int64_t vector;    // [N]
    std::int64_t residual;  // [N, h]
    std::int64_t attended;  // [N, H·d], this rank's heads
    std::int64_t inner;     // [N, inner], this rank's columns
    std::int64_t heads;
};

Sizes sizes(const ModelOptions& options, int tensor_degree, std::int64_t sequences, std::int64_t length) {
    const Gpt2Shard shard = gpt2_shard(options, tensor_degree, 0);
    const std::int64_t vector = sequences * length * kElementBytes;
    return {.vector = vector,
            .residual = vector * options.n_embd,
            .attended = vector * shard.heads * shard.head_width,
            .inner = vector * shard.inner,
            .heads = shard.heads};
}

}  // namespace

std::vector<StashEntry> gpt2_stash(const ModelOptions& options, int tensor_degree, int module, std::int64_t sequences,
                                   std::int64_t length) {
    const auto [vector, residual, attended, inner, heads] = sizes(options, tensor_degree, sequences, length);
    if (module == 0) return {};  // the tokens are the microbatch's
    if (module == gpt2_module_count(options) - 1)
        return {{"input", residual}, {"ln_f.mean", vector}, {"ln_f.rstd", vector}, {"ln_f", residual}};
    return {
        {"input", residual},
        {"ln_1.mean", vector},
        {"ln_1.rstd", vector},
        {"ln_1", residual},
        {"attn.qkv", 3 * attended},
        {"attn.attended", attended},
        {"attn.logsumexp", vector * heads},
        {"middle", residual},
        {"ln_2.mean", vector},
        {"ln_2.rstd", vector},
        {"ln_2", residual},
        {"mlp.before_gelu", inner},
        {"mlp.after_gelu", inner},
    };
}

std::vector<StashEntry> gpt2_deferred(const ModelOptions& options, int tensor_degree, int module,
                                      std::int64_t sequences, std::int64_t length) {
    const auto [vector, residual, attended, inner, heads] = sizes(options, tensor_degree, sequences, length);
    if (module == 0) return {{"gradient", residual}};
    if (module == gpt2_module_count(options) - 1) return {};
    return {
        {"ln_1", residual},          {"attn.qkv.gradient", 3 * attended},
        {"attn.attended", attended}, {"attn.branch.gradient", residual},
        {"ln_2", residual},          {"mlp.before_gelu.gradient", inner},
        {"mlp.after_gelu", inner},   {"mlp.branch.gradient", residual},
    };
}

std::int64_t gpt2_boundary_bytes(const ModelOptions& options, std::int64_t sequences, std::int64_t length) {
    return sequences * length * options.n_embd * kElementBytes;
}

}  // namespace smp::models
