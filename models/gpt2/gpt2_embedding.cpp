#include "models/gpt2/gpt2_embedding.h"

#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "models/gpt2/gpt2_stash.h"
#include "models/kernels/kernels.h"

namespace smp::models {

namespace {

enum Parameters { kTokens, kPositions };

constexpr std::size_t kGradient = place(kEmbeddingStash, "gradient");

}  // namespace

Embedding::Embedding(const Gpt2Options& options, SegmentContext context)
    : Gpt2Segment(options, 0, std::move(context)) {}

at::Tensor Embedding::forward(const at::Tensor& /*input*/, Stash& stash, const Microbatch& microbatch, Loss& /*loss*/) {
    const std::int64_t length = microbatch.length;
    if (length > options_.n_positions)
        throw std::logic_error(fmt::format("{} tokens do not fit {} positions", length, options_.n_positions));
    stash.clear();
    if (microbatch.training) stash.resize(kEmbeddingStash.size());
    const std::int64_t first_row = first_own_row(context_, microbatch);
    at::Tensor x =
        kernels::embed_tokens(microbatch.inputs.reshape({-1}), views()[kTokens].value, shard_.first_token);  // [N, h]
    context_.progress();
    x = sum_to_own_rows(context_, x);
    kernels::add_positions(x, views()[kPositions].value, first_row, length);
    context_.progress();
    // Dropout is linear: the operator of its backward is that of its forward.
    return kernels::dropout_backward(x, output_key(microbatch));
}

kernels::DropoutKey Embedding::output_key(const Microbatch& microbatch) const {
    return own_rows_dropout_key(context_, microbatch, options_.embd_pdrop, 0, kernels::DropoutSite::embedding);
}

at::Tensor Embedding::backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                                     Loss& /*loss*/) {
    stash[kGradient] = kernels::dropout_backward(gradient, output_key(microbatch));
    return {};
}

void Embedding::backward_weight(Stash& stash, const Microbatch& microbatch) {
    const at::Tensor gradient = gather_rows(context_, stash[kGradient]);  // [N, h]
    kernels::accumulate_token_gradient(views()[kTokens].gradient, gradient, microbatch.inputs.reshape({-1}),
                                       shard_.first_token);
    context_.progress();
    kernels::accumulate_position_gradient(views()[kPositions].gradient, gradient, microbatch.sequences,
                                          microbatch.length);
    stash.clear();
}

}  // namespace smp::models
