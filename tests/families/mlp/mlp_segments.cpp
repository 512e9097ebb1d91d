#include <algorithm>
#include <stdexcept>
#include <utility>

#include <ATen/ops/empty.h>

#include "comms/communicator.h"
#include "models/bound_segment.h"
#include "models/kernels/kernels.h"
#include "models/parameter_list.h"
#include "models/tensor_rows.h"
#include "tests/families/mlp/mlp.h"
#include "tests/families/mlp/mlp_spec.h"

namespace smp::testing {

namespace kernels = models::kernels;
using models::Loss;
using models::Microbatch;
using models::Pass;
using models::Stash;

namespace {

/// Rows of a table of V that a tensor rank holds.
struct Tokens {
    std::int64_t first = 0, held = 0, valid = 0;
};

class MlpSegment : public models::BoundSegment {
  public:
    MlpSegment(const MlpOptions& options, int module, const models::SegmentContext& context)
        : BoundSegment(Mlp(options).module_name(module),
                       Mlp(options).parameters(module, context.tensor_group->size(), context.tensor_group->rank()),
                       context),
          options_(options) {
        tokens_.held = models::rounded_up_part(options.vocabulary, context.tensor_group->size());
        tokens_.first = context.tensor_group->rank() * tokens_.held;
        tokens_.valid = std::clamp<std::int64_t>(options.vocabulary - tokens_.first, 0, tokens_.held);
    }

  protected:
    const MlpOptions options_;
    Tokens tokens_;
};

class Embedding final : public MlpSegment {
  public:
    using MlpSegment::MlpSegment;

    at::Tensor forward(const at::Tensor& /*input*/, Stash& stash, const Microbatch& microbatch,
                       Loss& /*loss*/) override {
        stash.clear();
        if (microbatch.training) stash.resize(kMlpEmbeddingStash.size());
        models::first_own_row(context_, microbatch);  // refuses rows that do not divide
        const at::Tensor x =
            kernels::embed_tokens(microbatch.inputs.reshape({-1}), views()[0].value, tokens_.first);  // [N, h]
        context_.progress();
        return models::sum_to_own_rows(context_, x);
    }
    at::Tensor backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& /*microbatch*/,
                              Loss& /*loss*/) override {
        stash[place(kMlpEmbeddingStash, "gradient")] = gradient;
        return {};
    }
    void backward_weight(Stash& stash, const Microbatch& microbatch) override {
        const at::Tensor gradient = models::gather_rows(context_, stash[place(kMlpEmbeddingStash, "gradient")]);
        kernels::accumulate_token_gradient(views()[0].gradient, gradient, microbatch.inputs.reshape({-1}),
                                           tokens_.first);
        stash.clear();
    }
};

class Block final : public MlpSegment {
  public:
    using MlpSegment::MlpSegment;

    at::Tensor forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& /*loss*/) override {
        const at::Tensor before =
            kernels::linear(models::gather_rows(context_, input), views()[kUp].value, views()[kUpBias].value);
        context_.progress();
        const at::Tensor after = kernels::gelu(before);
        const at::Tensor branch =
            models::sum_to_own_rows(context_, kernels::linear(after, views()[kDown].value, {}));  // [N', h]
        context_.progress();
        stash.clear();
        if (microbatch.training) {
            stash.resize(kMlpBlockStash.size());
            stash[kInput] = input;
            stash[kBefore] = before;
            if (!context_.storage.recomputes_cheap) stash[kAfter] = after;
        }
        return kernels::add_residual(input, branch, views()[kDownBias].value, {});
    }
    at::Tensor backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& /*microbatch*/,
                              Loss& /*loss*/) override {
        const at::Tensor before_gradient =
            kernels::linear_backward_input(models::gather_rows(context_, gradient), views()[kDown].value);
        context_.progress();
        if (context_.storage.recomputes_cheap) stash[kAfter] = kernels::gelu(stash[kBefore]);
        kernels::gelu_backward(before_gradient, stash[kBefore]);
        const at::Tensor through = models::sum_to_own_rows(
            context_, kernels::linear_backward_input(before_gradient, views()[kUp].value));  // [N', h]
        context_.progress();
        stash[kBeforeGradient] = before_gradient;
        stash[kGradient] = gradient;
        models::drop_used(stash, kMlpBlockStash, Pass::backward_input);
        return kernels::add_residual(gradient, through, {}, {});
    }
    void backward_weight(Stash& stash, const Microbatch& /*microbatch*/) override {
        const at::Tensor gradient = models::gather_rows(context_, stash[kGradient]);
        kernels::linear_backward_weight(views()[kDown].gradient, stash[kAfter], gradient);
        kernels::accumulate_column_sums(views()[kDownBias].gradient, gradient);
        context_.progress();
        kernels::linear_backward_weight(views()[kUp].gradient, models::gather_rows(context_, stash[kInput]),
                                        stash[kBeforeGradient]);
        kernels::accumulate_column_sums(views()[kUpBias].gradient, stash[kBeforeGradient]);
        stash.clear();
    }

  private:
    enum Parameters { kUp, kUpBias, kDown, kDownBias };
    static constexpr std::size_t kInput = place(kMlpBlockStash, models::kModuleInput),
                                 kBefore = place(kMlpBlockStash, "before"), kAfter = place(kMlpBlockStash, "after"),
                                 kBeforeGradient = place(kMlpBlockStash, "before.gradient"),
                                 kGradient = place(kMlpBlockStash, "gradient");
};

/// All rows' logits at once.
class Head final : public MlpSegment {
  public:
    using MlpSegment::MlpSegment;

    at::Tensor forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& loss) override {
        stash.clear();
        if (microbatch.training)
            stash = {input};
        else
            loss.add(softmax(models::gather_rows(context_, input), microbatch).sums);
        return {};
    }
    at::Tensor backward_input(const at::Tensor& /*gradient*/, Stash& stash, const Microbatch& microbatch,
                              Loss& loss) override {
        const at::Tensor rows = models::gather_rows(context_, stash[place(kMlpHeadStash, models::kModuleInput)]);
        const Softmax softmax = this->softmax(rows, microbatch);
        loss.add(softmax.sums);
        const at::Tensor logits_gradient =
            kernels::cross_entropy_gradient(softmax.exponentials, softmax.sums, microbatch.targets.reshape({-1}),
                                            tokens_.first, microbatch.gradient_scale, views()[0].value.scalar_type());
        context_.progress();
        const at::Tensor gradient = kernels::linear(logits_gradient, views()[0].value, {});  // [N, h]
        kernels::linear_backward_weight(views()[0].gradient, logits_gradient, rows);
        models::drop_used(stash, kMlpHeadStash, Pass::backward_input);
        return models::sum_to_own_rows(context_, gradient);
    }
    void backward_weight(Stash& stash, const Microbatch& /*microbatch*/) override { stash.clear(); }

    at::Tensor logits(const at::Tensor& input, std::int64_t first, std::int64_t count) override {
        const at::Tensor rows = models::gather_rows(context_, input).narrow(0, first, count);
        const at::Tensor own = kernels::logits(rows, views()[0].value);  // [count, V']
        const std::int64_t ranks = context_.tensor_group->size();
        at::Tensor all = at::empty({ranks, count, tokens_.held}, own.options());
        context_.tensor_group->all_gather(all, own).join();
        return all.transpose(0, 1)
            .reshape({count, ranks * tokens_.held})
            .narrow(1, 0, options_.vocabulary)
            .contiguous();
    }

  private:
    struct Softmax {
        at::Tensor exponentials;  // [N, V']
        at::Tensor sums;          // [2, N], over the tensor group
    };
    Softmax softmax(const at::Tensor& rows, const Microbatch& microbatch) {
        at::Tensor logits;
        {
            const auto counted = context_.making_logits();
            logits = kernels::logits(rows, views()[0].value);
        }
        const at::Tensor maxima = kernels::row_maxima(logits, tokens_.valid);
        if (context_.tensor_group->size() > 1)
            comms::all_reduce(*context_.tensor_group, maxima, comms::Reduction::max).join();
        const at::Tensor sums =
            kernels::exponential_sums(logits, maxima, microbatch.targets.reshape({-1}), tokens_.first, tokens_.valid);
        models::sum_over_tensor_group(context_, sums);
        return {logits, sums};
    }
};

}  // namespace

std::vector<std::unique_ptr<models::Segment>> mlp_segments(const MlpOptions& options, int first_module, int end_module,
                                                           const models::SegmentContext& context) {
    const int count = Mlp(options).module_count();
    if (first_module < 0 || end_module > count || first_module > end_module || context.tensor_group == nullptr)
        throw std::logic_error("mlp_segments: there are no such modules, or no tensor group");
    std::vector<std::unique_ptr<models::Segment>> segments;
    for (int module = first_module; module < end_module; ++module) {
        if (module == 0)
            segments.push_back(std::make_unique<Embedding>(options, module, context));
        else if (module + 1 == count)
            segments.push_back(std::make_unique<Head>(options, module, context));
        else
            segments.push_back(std::make_unique<Block>(options, module, context));
    }
    return segments;
}

models::Model mlp(const MlpOptions& options) {
    return {.spec = std::make_shared<Mlp>(options),
            .segments = [options](int first_module, int end_module, const models::SegmentContext& context) {
                return mlp_segments(options, first_module, end_module, context);
            }};
}

}  // namespace smp::testing
