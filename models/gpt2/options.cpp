#include "models/gpt2/options.h"

namespace smp::models {
namespace {

// Keep every product of sizes (parameters, FLOPs a token) far inside 64 bits.
constexpr std::int64_t kMostLayers = 4096;  // stages are found in time and memory that grow with the square
constexpr std::int64_t kMostWidth = 1 << 20;
constexpr std::int64_t kMostEntries = 1 << 24;

}  // namespace

void check(const Gpt2Options& options, partition::OptionChecks& checks) {
    const std::int64_t one = 1;
    checks.between("n_layer", options.n_layer, one, kMostLayers);
    checks.between("n_head", options.n_head, one, kMostWidth);
    checks.between("n_embd", options.n_embd, one, kMostWidth);
    checks.between("n_positions", options.n_positions, one, kMostEntries);
    checks.between("vocab_size", options.vocab_size, one, kMostEntries);
    checks.require("n_inner", options.n_inner,
                   options.n_inner.value_or(1) >= 1 && options.n_inner.value_or(1) <= 4 * kMostWidth,
                   fmt::format("from 1 to {}", 4 * kMostWidth), "null stands for 4 * n_embd");
    checks.positive_in_fp32("layer_norm_epsilon", options.layer_norm_epsilon);
    checks.fraction_in_fp32("embd_pdrop", options.embd_pdrop);
    checks.fraction_in_fp32("resid_pdrop", options.resid_pdrop);
    checks.fraction_in_fp32("attn_pdrop", options.attn_pdrop);
    checks.zero_or_positive_in_fp32("initializer_range", options.initializer_range);
    if (options.n_head >= 1 && options.n_embd >= 1 && options.n_embd % options.n_head != 0) {
        checks.conflict("n_embd", options.n_embd,
                        fmt::format("must be a multiple of model.n_head, which is {}", options.n_head),
                        "change one of them");
    }
}

std::vector<partition::Problem> validate(const Gpt2Options& options) {
    partition::OptionChecks checks("model");
    check(options, checks);
    return checks.problems();
}

std::int64_t inner_width(const Gpt2Options& options) { return options.n_inner.value_or(4 * options.n_embd); }

std::int64_t head_width(const Gpt2Options& options) { return options.n_embd / options.n_head; }

}  // namespace smp::models
