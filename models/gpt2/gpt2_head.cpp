#include "models/gpt2/gpt2_head.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "comms/communicator.h"
#include "models/kernels/kernels.h"

namespace smp::models {

namespace {

enum Parameters { kGain, kBias, kWeight };  // weight: [V', h]

constexpr std::size_t kInput = place(kHeadStash, kModuleInput), kMean = place(kHeadStash, "ln_f.mean"),
                      kRstd = place(kHeadStash, "ln_f.rstd"), kNormalised = place(kHeadStash, "ln_f");

}  // namespace

Head::Head(const Gpt2Options& options, SegmentContext context)
    : Gpt2Segment(options, gpt2_module_count(options) - 1, std::move(context)) {}

Head::Chunk Head::chunk(const at::Tensor& rows, const at::Tensor& targets) {
    at::Tensor logits;  // [n, V'], fp32
    {
        const auto counted = context_.making_logits();
        logits = kernels::logits(rows, views()[kWeight].value);
    }
    context_.progress();
    const at::Tensor maxima = kernels::row_maxima(logits, shard_.valid_tokens);
    if (context_.tensor_group->size() > 1)
        comms::all_reduce(*context_.tensor_group, maxima, comms::Reduction::max).join();
    const at::Tensor sums = kernels::exponential_sums(logits, maxima, targets, shard_.first_token, shard_.valid_tokens);
    context_.progress();
    sum_over_tensor_group(context_, sums);
    return {std::move(logits), sums, targets};
}

at::Tensor Head::forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& loss) {
    auto [normalised, mean, rstd] =
        kernels::layer_norm(input, views()[kGain].value, views()[kBias].value, options_.layer_norm_epsilon);
    context_.progress();
    stash.clear();
    if (microbatch.training) {
        stash.resize(kHeadStash.size());
        stash[kInput] = input;
        stash[kMean] = mean;
        stash[kRstd] = rstd;
        if (!context_.storage.recomputes_cheap) stash[kNormalised] = normalised;
        return {};
    }
    normalised = gather_rows(context_, normalised);  // [N, h]
    const at::Tensor targets = microbatch.targets.reshape({-1});
    const std::int64_t at_once = rows_at_once();
    for (std::int64_t first = 0; first < normalised.size(0); first += at_once) {
        const std::int64_t count = std::min(at_once, normalised.size(0) - first);
        loss.add(chunk(normalised.narrow(0, first, count), targets.narrow(0, first, count)).sums);
    }
    return {};
}

at::Tensor Head::backward_input(const at::Tensor& /*gradient*/, Stash& stash, const Microbatch& microbatch,
                                Loss& loss) {
    const at::Tensor own = context_.storage.recomputes_cheap
                               ? kernels::layer_norm(stash[kInput], views()[kGain].value, views()[kBias].value,
                                                     options_.layer_norm_epsilon)
                                     .y
                               : stash[kNormalised];
    const at::Tensor normalised = gather_rows(context_, own);  // [N, h]
    const at::Tensor targets = microbatch.targets.reshape({-1});
    const ParameterView& weight = views()[kWeight];
    at::Tensor normalised_gradient = at::empty_like(normalised);
    const std::int64_t at_once = rows_at_once();
    for (std::int64_t first = 0; first < normalised.size(0); first += at_once) {
        const std::int64_t count = std::min(at_once, normalised.size(0) - first);
        const at::Tensor rows = normalised.narrow(0, first, count);
        const Chunk part = chunk(rows, targets.narrow(0, first, count));
        loss.add(part.sums);
        const at::Tensor logits_gradient =
            kernels::cross_entropy_gradient(part.exponentials, part.sums, part.targets, shard_.first_token,
                                            microbatch.gradient_scale, weight.value.scalar_type());
        context_.progress();
        normalised_gradient.narrow(0, first, count).copy_(kernels::linear(logits_gradient, weight.value, {}));
        context_.progress();
        kernels::linear_backward_weight(weight.gradient, logits_gradient, rows);
        context_.progress();
    }
    normalised_gradient = sum_to_own_rows(context_, normalised_gradient);
    kernels::layer_norm_backward_weight(views()[kGain].gradient, views()[kBias].gradient, normalised_gradient,
                                        stash[kInput], stash[kMean], stash[kRstd]);
    context_.progress();
    at::Tensor input_gradient = kernels::layer_norm_backward_input(normalised_gradient, stash[kInput], stash[kMean],
                                                                   stash[kRstd], views()[kGain].value, {});
    context_.progress();
    drop_used(stash, kHeadStash, Pass::backward_input);
    return input_gradient;
}

void Head::backward_weight(Stash& stash, const Microbatch& /*microbatch*/) { stash.clear(); }

at::Tensor Head::logits(const at::Tensor& input, std::int64_t first, std::int64_t count) {
    const at::Tensor rows = gather_rows(context_, input).narrow(0, first, count);
    const at::Tensor normalised =
        kernels::layer_norm(rows, views()[kGain].value, views()[kBias].value, options_.layer_norm_epsilon).y;
    const at::Tensor own = kernels::logits(normalised, views()[kWeight].value);  // [n, V']
    const std::int64_t ranks = context_.tensor_group->size(), n = own.size(0);
    at::Tensor all = own;
    if (ranks > 1) {
        at::Tensor gathered = at::empty({ranks, n, shard_.vocabulary}, own.options());
        context_.tensor_group->all_gather(gathered, own).join();
        all = gathered.cpu().transpose(0, 1).reshape({n, ranks * shard_.vocabulary});
    }
    return all.cpu().narrow(1, 0, options_.vocab_size).contiguous();
}

}  // namespace smp::models
