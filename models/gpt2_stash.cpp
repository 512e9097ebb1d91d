#include "models/gpt2_stash.h"

#include "models/gpt2_parameters.h"

namespace smp::models {

namespace {

constexpr std::int64_t kElementBytes = 4;  // fp32

}  // namespace

std::vector<StashEntry> gpt2_stash(const ModelOptions& options, int tensor_degree, int module, std::int64_t sequences,
                                   std::int64_t length) {
    const Gpt2Shard shard = gpt2_shard(options, tensor_degree, 0);
    const std::int64_t rows = sequences * length;      // N
    const std::int64_t vector = rows * kElementBytes;  // [N]
    const std::int64_t residual = vector * options.n_embd;
    const std::int64_t attended = vector * shard.heads * shard.head_width;
    const std::int64_t inner = vector * shard.inner;

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
        {"attn.logsumexp", vector * shard.heads},
        {"middle", residual},
        {"ln_2.mean", vector},
        {"ln_2.rstd", vector},
        {"ln_2", residual},
        {"mlp.before_gelu", inner},
        {"mlp.after_gelu", inner},
    };
}

std::int64_t gpt2_boundary_bytes(const ModelOptions& options, std::int64_t sequences, std::int64_t length) {
    return sequences * length * options.n_embd * kElementBytes;
}

}  // namespace smp::models
