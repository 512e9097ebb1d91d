// Each segment alone against autograd of the reference, on 1 to 4 tensor ranks, with rows whole and sharded.
#include <functional>
#include <mutex>
#include <stdexcept>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2.h"
#include "models/gpt2/gpt2_parameters.h"
#include "tests/models/reference_gpt2.h"
#include "tests/models/tensor_group.h"

namespace smp::models {
namespace {

using testing::Batch;
using testing::NamedTensors;

/// Nothing divides: 29 tokens and 50 inner columns over 3 or 4 ranks are padded; 300 rows are two chunks of the head.
Gpt2Options model() {
    Gpt2Options options;
    options.n_layer = 2;
    options.n_head = 12;
    options.n_embd = 48;
    options.n_positions = 61;
    options.vocab_size = 29;
    options.n_inner = 50;
    options.tie_word_embeddings = false;
    return options;
}

struct SegmentRun {
    at::Tensor output, input_gradient;
    double loss_sum = 0;
    NamedTensors gradients;
};

SegmentRun run_segment(int module, const NamedTensors& weights, const Batch& batch, const at::Tensor& input,
                       const at::Tensor& output_gradient, int tensor_degree, at::ScalarType dtype,
                       partition::Optimize optimize) {
    SegmentRun run;
    std::mutex mutex;
    const bool shards = optimize == partition::Optimize::memory;
    // Boundary tensors by rank.
    std::vector<at::Tensor> outputs(tensor_degree), input_gradients(tensor_degree);
    testing::on_tensor_ranks(tensor_degree, [&](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        context.storage.optimize = optimize;
        const auto as = [&](const at::Tensor& x) {
            if (!x.defined()) return x;
            const at::Tensor all = x.detach().to(dtype);
            const std::int64_t rows = all.size(0) / tensor_degree;
            return shards ? all.narrow(0, group.rank() * rows, rows) : all;
        };
        const auto bound = testing::bind_model(model(), weights, module, module + 1, context, dtype);
        Segment& segment = *bound.segments[0];
        const Microbatch microbatch = testing::cut(batch)[0];
        Loss loss;
        const at::Tensor own_input = as(input), own_gradient = as(output_gradient);
        Stash stash;
        const at::Tensor output = segment.forward(own_input, stash, microbatch, loss);
        const at::Tensor input_gradient = segment.backward_input(own_gradient, stash, microbatch, loss);
        for (std::size_t i = 0; i < bound.views[0].size(); ++i) {
            // The others' gradients are what backward_input has no time for; see Segment::backward_input.
            const std::string& name = segment.parameters()[i].name;
            const bool early = name.find("ln_") != std::string::npos || name == "lm_head.weight";
            EXPECT_EQ(bound.views[0][i].gradient.count_nonzero().item<std::int64_t>() > 0, early) << name;
        }
        segment.backward_weight(stash, microbatch);
        EXPECT_TRUE(stash.empty());
        if (input.defined()) {
            EXPECT_TRUE(own_input.equal(as(input))) << "the input was changed";
        }
        if (output_gradient.defined()) {
            EXPECT_TRUE(own_gradient.equal(as(output_gradient))) << "the gradient was changed";
        }

        testing::sum_row_gradients(bound, context);

        const std::lock_guard lock(mutex);
        if (run.output.defined() && !shards) {
            EXPECT_TRUE(run.output.equal(output)) << "tensor ranks disagree";
        }
        run.output = outputs[group.rank()] = output;
        run.input_gradient = input_gradients[group.rank()] = input_gradient;
        run.loss_sum = loss.sum();
        for (std::size_t i = 0; i < bound.views[0].size(); ++i)
            testing::put_part(segment.parameters()[i], bound.views[0][i].gradient, run.gradients);
    });
    if (shards && run.output.defined()) run.output = at::cat(outputs);
    if (shards && run.input_gradient.defined()) run.input_gradient = at::cat(input_gradients);
    return run;
}

/// The same by autograd. `formula` maps input and weights to the output, or to the loss.
SegmentRun run_oracle(const NamedTensors& weights, const at::Tensor& input, const at::Tensor& output_gradient,
                      at::ScalarType dtype,
                      const std::function<at::Tensor(const at::Tensor&, const NamedTensors&)>& formula) {
    const NamedTensors own = testing::leaves(weights, dtype);
    const at::Tensor x = input.defined() ? input.detach().to(dtype).clone().requires_grad_() : input;
    const at::Tensor output = formula(x, own);
    output.backward(output_gradient.defined() ? output_gradient.to(dtype) : output_gradient);
    SegmentRun run{.output = output.detach(), .input_gradient = {}, .gradients = {}};
    if (x.defined()) run.input_gradient = x.grad();
    for (const auto& [name, weight] : own)
        if (weight.grad().defined()) run.gradients[name] = weight.grad();
    return run;
}

/// fp64: what is right up to rounding, with sums of some hundred terms, is right to 1e-12 of the largest element. fp32:
/// ten times what the oracle itself loses in fp32, where that is above one rounding of the largest element.
void expect_close(const at::Tensor& ours, const at::Tensor& exact, const at::Tensor& in_fp32, at::ScalarType dtype,
                  const std::string& what) {
    const double lost = std::max(testing::relative_error(in_fp32, exact), 1.2e-7);
    EXPECT_LE(testing::relative_error(ours, exact), dtype == at::kDouble ? 1e-12 : 10 * lost) << what;
}

class Segments : public ::testing::TestWithParam<std::tuple<int, at::ScalarType, partition::Optimize>> {
  protected:
    void compare(int module, const NamedTensors& weights, const Batch& batch, const at::Tensor& input,
                 const at::Tensor& output_gradient,
                 const std::function<at::Tensor(const at::Tensor&, const NamedTensors&)>& formula) const {
        const auto [degree, dtype, optimize] = GetParam();
        const SegmentRun ours = run_segment(module, weights, batch, input, output_gradient, degree, dtype, optimize);
        const SegmentRun exact = run_oracle(weights, input, output_gradient, at::kDouble, formula);
        const SegmentRun fp32 = run_oracle(weights, input, output_gradient, at::kFloat, formula);
        if (ours.output.defined()) {
            expect_close(ours.output, exact.output, fp32.output, dtype, "output");
        } else {
            const double tokens = static_cast<double>(batch.targets.numel());
            expect_close(at::scalar_tensor(ours.loss_sum / tokens, at::kDouble), exact.output, fp32.output, dtype,
                         "loss");
        }
        if (exact.input_gradient.defined())
            expect_close(ours.input_gradient, exact.input_gradient, fp32.input_gradient, dtype, "input gradient");
        else
            EXPECT_FALSE(ours.input_gradient.defined());
        ASSERT_EQ(ours.gradients.size(), exact.gradients.size());
        // The loss does not depend on a bias of the keys: its gradient is rounding alone, compared to that of q and v.
        for (const auto& [name, gradient] : exact.gradients)
            expect_close(ours.gradients.at(name), gradient, fp32.gradients.at(name), dtype, name);
    }

    static at::Tensor random(std::vector<std::int64_t> shape, std::int64_t seed) {
        at::manual_seed(seed);
        return at::randn(shape, at::kDouble);
    }

    const NamedTensors weights_ = testing::random_weights(model(), at::kDouble, 5);
    const Batch batch_ = testing::random_batch(model(), 5, 60, 6);  // 300 rows
    static constexpr std::int64_t kLength = 60;
};

TEST_P(Segments, Embedding) {
    compare(0, weights_, batch_, {}, random({300, 48}, 1), [&](const at::Tensor&, const NamedTensors& weights) {
        return testing::reference_embedding(model(), weights, batch_.inputs);
    });
}

TEST_P(Segments, Block) {
    compare(2, weights_, batch_, random({300, 48}, 1), random({300, 48}, 2),
            [&](const at::Tensor& x, const NamedTensors& weights) {
                return testing::reference_block(model(), weights, 1, x, kLength);
            });
}

TEST_P(Segments, Head) {
    compare(3, weights_, batch_, random({300, 48}, 1), {}, [&](const at::Tensor& x, const NamedTensors& weights) {
        return testing::reference_loss_sum(testing::reference_logits(model(), weights, x), batch_.targets) / 300.0;
    });
}

INSTANTIATE_TEST_SUITE_P(TensorDegrees, Segments,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4), ::testing::Values(at::kDouble, at::kFloat),
                                            ::testing::Values(partition::Optimize::speed, partition::Optimize::memory)),
                         [](const auto& instance) {
                             return std::to_string(std::get<0>(instance.param)) +
                                    (std::get<1>(instance.param) == at::kDouble ? "InFp64" : "InFp32") +
                                    (std::get<2>(instance.param) == partition::Optimize::memory ? "ForMemory" : "");
                         });

TEST(SegmentChecks, RefuseMistakesOfTheCaller) {
    testing::on_tensor_ranks(1, [](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        EXPECT_THROW(gpt2_segments(model(), 0, 5, context), std::logic_error);
        EXPECT_THROW(gpt2_segments(model(), 0, 4, SegmentContext{}), std::logic_error);
        auto segments = gpt2_segments(model(), 0, 4, context);
        EXPECT_EQ(segments[1]->name(), "h.0");
        EXPECT_EQ(segments[3]->parameters()[2].name, "lm_head.weight");
        EXPECT_THROW(segments[0]->bind({}), std::logic_error);
        const at::Tensor wrong = at::zeros({29, 47});
        EXPECT_THROW(segments[0]->bind({{wrong, wrong}, {wrong, wrong}}), std::logic_error);
        EXPECT_THROW(segments[1]->logits(at::zeros({1, 48}), 0, 1), std::logic_error);
    });
}

// Transfers in flight move on at operator boundaries only: every pass of every segment has to offer some.
TEST(SegmentChecks, OfferProgressBetweenOperators) {
    testing::on_tensor_ranks(1, [](comms::Communicator& group) {
        int calls = 0;
        SegmentContext context;
        context.tensor_group = &group;
        context.progress = [&calls] { ++calls; };
        const auto bound = testing::bind_model(model(), testing::random_weights(model(), at::kFloat, 1), 0, 4, context);
        const Microbatch microbatch = testing::cut(testing::random_batch(model(), 2, 60, 1))[0];
        Loss loss;
        const auto expect_progress = [&](const char* pass, const Segment& segment) {
            EXPECT_GT(calls, 0) << pass << " of " << segment.name();
            calls = 0;
        };
        std::vector<Stash> stashes(4);
        at::Tensor x;
        for (int i = 0; i < 4; ++i) {
            x = bound.segments[i]->forward(x, stashes[i], microbatch, loss);
            expect_progress("forward", *bound.segments[i]);
        }
        at::Tensor gradient;
        for (int i = 3; i >= 0; --i) {
            gradient = bound.segments[i]->backward_input(gradient, stashes[i], microbatch, loss);
            if (i > 0) expect_progress("backward_input", *bound.segments[i]);
            bound.segments[i]->backward_weight(stashes[i], microbatch);
            if (i < 3) expect_progress("backward_weight", *bound.segments[i]);  // the head has nothing left to do
        }
    });
}

TEST(SegmentChecks, RefuseRowsThatDoNotDivide) {
    testing::on_tensor_ranks(2, [](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        context.storage.optimize = partition::Optimize::memory;
        const auto bound = testing::bind_model(model(), testing::random_weights(model(), at::kFloat, 1), 0, 1, context);
        const Microbatch microbatch = testing::cut(testing::random_batch(model(), 1, 7, 1))[0];
        Loss loss;
        Stash stash;
        EXPECT_THROW(bound.segments[0]->forward({}, stash, microbatch, loss), std::logic_error);
    });
}

TEST(SegmentChecks, RefuseMoreTokensThanPositions) {
    testing::on_tensor_ranks(1, [](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        const auto bound = testing::bind_model(model(), testing::random_weights(model(), at::kFloat, 1), 0, 1, context);
        const Microbatch microbatch = testing::cut(testing::random_batch(model(), 1, 62, 1))[0];
        Loss loss;
        Stash stash;
        EXPECT_THROW(bound.segments[0]->forward({}, stash, microbatch, loss), std::logic_error);
    });
}

}  // namespace
}  // namespace smp::models
