#include "models/gpt2_embedding.h"

#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "models/kernels/kernels.h"

namespace smp::models {

namespace {

enum Parameters { kTokens, kPositions };

}  // namespace

Embedding::Embedding(const ModelOptions& options, SegmentContext context)
    : BoundSegment(options, 0, std::move(context)) {}

at::Tensor Embedding::forward(const at::Tensor& /*input*/, Stash& stash, Microbatch& microbatch) {
    const std::int64_t length = microbatch.length;
    if (length > options_.n_positions)
        throw std::logic_error(fmt::format("{} tokens do not fit {} positions", length, options_.n_positions));
    stash.clear();
    at::Tensor x =
        kernels::embed_tokens(microbatch.inputs.reshape({-1}), views()[kTokens].value, shard_.first_token);  // [N, h]
    context_.progress();
    sum_over_tensor_group(context_, x);
    x.view({microbatch.sequences, length, options_.n_embd}).add_(views()[kPositions].value.narrow(0, 0, length));
    context_.progress();
    // Dropout is linear: the operator of its backward is that of its forward.
    return kernels::dropout_backward(x,
                                     dropout_key(microbatch, options_.embd_pdrop, 0, kernels::DropoutSite::embedding));
}

at::Tensor Embedding::backward_input(const at::Tensor& gradient, Stash& stash, Microbatch& microbatch) {
    stash = {kernels::dropout_backward(
        gradient, dropout_key(microbatch, options_.embd_pdrop, 0, kernels::DropoutSite::embedding))};
    return {};
}

void Embedding::backward_weight(Stash& stash, Microbatch& microbatch) {
    const at::Tensor& gradient = stash[0];
    kernels::accumulate_token_gradient(views()[kTokens].gradient, gradient, microbatch.inputs.reshape({-1}),
                                       shard_.first_token);
    context_.progress();
    kernels::accumulate_position_gradient(views()[kPositions].gradient, gradient, microbatch.sequences,
                                          microbatch.length);
    stash.clear();
}

}  // namespace smp::models
