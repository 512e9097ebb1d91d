// The family by itself: its gradients against autograd, its stash against what it declares, its rules. If these fail,
// the family is wrong, not the seam.
#include <map>
#include <mutex>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "runtime/job/job_rules.h"
#include "runtime/trainer.h"
#include "tests/families/mlp/mlp_job.h"
#include "tests/families/mlp/mlp_spec.h"
#include "tests/runtime/local_ranks.h"

namespace smp::testing {
namespace {

using models::Pass;
using partition::Optimize;
using ::testing::HasSubstr;

using Tensors = std::map<std::string, at::Tensor>;

/// Mean loss of the batch and its gradients, in fp64, by autograd.
double reference(const MlpOptions& options, const Tensors& values, const at::Tensor& inputs, const at::Tensor& targets,
                 Tensors& gradients) {
    Tensors leaves;
    for (const auto& [name, value] : values) leaves[name] = value.to(at::kDouble).requires_grad_(true);
    at::Tensor x = leaves.at("embed.weight").index_select(0, inputs.reshape({-1}));
    for (int layer = 0; layer < options.layers; ++layer) {
        const auto of_block = [&](const char* name) { return leaves.at(fmt::format("block.{}.{}", layer, name)); };
        const at::Tensor before = x.matmul(of_block("up.weight")) + of_block("up.bias");
        x = x + at::gelu(before, "tanh").matmul(of_block("down.weight")) + of_block("down.bias");
    }
    const at::Tensor logits = x.matmul(leaves.at(options.tied ? "embed.weight" : "head.weight").t());
    const at::Tensor loss = torch::nn::functional::cross_entropy(logits, targets.reshape({-1}));
    loss.backward();
    for (const auto& [name, leaf] : leaves) gradients[name] = leaf.grad();
    return loss.item<double>();
}

/// Inputs and targets of the first training step.
std::pair<at::Tensor, at::Tensor> first_batch(std::int64_t sequences) {
    const auto tokens = mlp_tokens();
    const at::Tensor inputs = at::empty({sequences, kMlpLength}, at::kLong), targets = at::empty_like(inputs);
    for (std::int64_t i = 0; i < inputs.numel(); ++i) {
        inputs.data_ptr<std::int64_t>()[i] = tokens[i];
        targets.data_ptr<std::int64_t>()[i] = tokens[i + 1];
    }
    return {inputs, targets};
}

TEST(Mlp, LossAndGradientsAreThoseOfAutograd) {
    const ScratchFolder folder;
    for (const bool tied : {true, false}) {
        const MlpOptions options{.tied = tied};
        for (const auto& [pp, tp, optimize] : {std::tuple{1, 1, Optimize::speed},
                                               {2, 1, Optimize::speed},
                                               {1, 2, Optimize::speed},
                                               {2, 2, Optimize::memory},
                                               {1, 3, Optimize::memory}}) {  // 97 tokens are padded
            runtime::Job job = mlp_job(folder, options);
            job.training.gradient_clip_norm = 0;
            job.parallel.pipeline_parallel_degree = pp;
            job.parallel.tensor_parallel_degree = tp;
            job.parallel.optimize = optimize;
            on_local_ranks(pp * tp, [&, tied = tied](comms::Communicator& world) {
                runtime::Trainer trainer(job, world);
                Tensors values, gradients;
                for (const auto& name : trainer.parameter_names()) values[name] = trainer.gather_value(name);
                const double loss = trainer.step().loss;
                for (const auto& name : trainer.parameter_names()) gradients[name] = trainer.gather_gradient(name);
                if (world.rank() != 0) return;
                EXPECT_EQ(values.contains("head.weight"), !tied);
                Tensors expected;
                const auto [inputs, targets] = first_batch(*job.training.global_batch_size);
                // 144 tokens' terms of fp32, each with a handful of roundings.
                constexpr double kTolerance = 1e-5;
                EXPECT_NEAR(loss, reference(options, values, inputs, targets, expected), kTolerance);
                for (const auto& [name, gradient] : gradients) {
                    const double scale = expected.at(name).abs().max().item<double>();
                    ASSERT_GT(scale, 0) << name;
                    EXPECT_LE((gradient.to(at::kDouble) - expected.at(name)).abs().max().item<double>(),
                              kTolerance * scale)
                        << name;
                }
            });
        }
    }
}

TEST(Mlp, StashIsWhatIsDeclared) {
    for (const auto& [tp, optimize, recomputes_cheap] :
         {std::tuple{1, Optimize::speed, false}, {2, Optimize::speed, true}, {2, Optimize::memory, false}}) {
        const models::ActivationStorage storage{.optimize = optimize, .recomputes_cheap = recomputes_cheap};
        on_local_ranks(tp, [&](comms::Communicator& group) {
            const models::Model model = mlp({});
            const models::MicrobatchShare share{
                .tensor_degree = group.size(), .sequences = 2, .length = kMlpLength, .storage = storage};
            auto segments = model.segments(0, model.spec->module_count(),
                                           models::SegmentContext{.tensor_group = &group, .storage = storage});
            models::Microbatch microbatch;
            microbatch.sequences = 2;
            microbatch.length = kMlpLength;
            std::tie(microbatch.inputs, microbatch.targets) = first_batch(2);
            std::vector<models::Stash> stashes(segments.size());
            const auto expect_declared = [&](std::size_t i, Pass pass) {
                const auto declared = model.spec->stash(static_cast<int>(i), share);
                ASSERT_EQ(stashes[i].size(), declared.size()) << segments[i]->name();
                for (std::size_t t = 0; t < declared.size(); ++t) {
                    ASSERT_EQ(stashes[i][t].defined(), is_kept(declared[t], pass)) << declared[t].name;
                    if (!stashes[i][t].defined()) continue;
                    EXPECT_EQ(static_cast<std::int64_t>(stashes[i][t].storage().nbytes()), declared[t].bytes)
                        << declared[t].name;
                }
            };
            models::Loss loss;
            at::Tensor x, gradient;
            for (std::size_t i = 0; i < segments.size(); ++i) {
                std::vector<models::ParameterView> views;
                for (const auto& parameter : segments[i]->parameters())
                    views.push_back({at::full(parameter.local_shape, 0.1F), at::zeros(parameter.local_shape)});
                segments[i]->bind(views);
                x = segments[i]->forward(x, stashes[i], microbatch, loss);
                expect_declared(i, Pass::forward);
            }
            for (std::size_t i = segments.size(); i-- > 0;) {
                gradient = segments[i]->backward_input(gradient, stashes[i], microbatch, loss);
                expect_declared(i, Pass::backward_input);
            }
            for (std::size_t i = segments.size(); i-- > 0;) {
                segments[i]->backward_weight(stashes[i], microbatch);
                EXPECT_TRUE(stashes[i].empty());
            }
        });
    }
}

TEST(Mlp, ItsRulesAreTheJobsRules) {
    const ScratchFolder folder;
    runtime::Job job = mlp_job(folder, {.inner = 25});
    EXPECT_TRUE(runtime::validate_job(job).empty());
    job.parallel.tensor_parallel_degree = 2;
    const auto problems = runtime::validate_job(job);
    ASSERT_EQ(problems.size(), 1);
    EXPECT_THAT(problems[0].message, HasSubstr("must divide model.inner, which is 25"));
}

TEST(Mlp, RanksThatDifferInItAreToldWhere) {
    const ScratchFolder folder;
    const runtime::Job jobs[] = {mlp_job(folder, {.longest = 64}), mlp_job(folder, {.longest = 65})};
    std::string message;
    on_local_ranks(2, [&](comms::Communicator& world) {
        try {
            runtime::Trainer trainer(jobs[world.rank()], world);
        } catch (const std::exception& error) {
            if (world.rank() == 0) message = error.what();
        }
    });
    EXPECT_THAT(message, HasSubstr("model.longest"));
}

TEST(Mlp, WithoutSegmentsItCanBePlannedAndNotTrained) {
    const ScratchFolder folder;
    runtime::Job job = mlp_job(folder);
    job.model.segments = {};
    EXPECT_TRUE(runtime::validate_job(job).empty());
    on_local_ranks(1, [&](comms::Communicator& world) { EXPECT_ANY_THROW(runtime::Trainer(job, world)); });
}

}  // namespace
}  // namespace smp::testing
