// If these fail, what is said about who holds what is not what ranks hold: a checkpoint would be of other numbers.
#include <map>
#include <random>
#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2.h"
#include "models/initialise.h"
#include "runtime/stage/initial_weights.h"
#include "runtime/stage/stage.h"
#include "runtime/state/holdings.h"
#include "runtime/update/adamw.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

constexpr std::uint64_t kSeed = 5;

/// The model as it starts, whole.
std::map<std::string, at::Tensor> initial_tensors(const models::ModelSpec& model) {
    std::map<std::string, at::Tensor> tensors;
    for (int module = 0; module < model.module_count(); ++module) {
        for (const models::Parameter& parameter : model.parameters(module, 1, 0)) {
            if (!parameter.tied_to.empty()) continue;
            const at::Tensor values = at::empty(parameter.global_shape, at::kFloat);
            models::initialise(values, parameter, kSeed);
            tensors[parameter.name] = values.view({-1});
        }
    }
    return tensors;
}

/// Of some loss: another number for each element, and none is zero.
at::Tensor gradient_of(const at::Tensor& whole) { return whole + at::arange(1, whole.numel() + 1) * 1e-3; }

void expect_holds(const Shard& shard, const at::Tensor& buffer, const at::Tensor& whole) {
    for (const ShardRun& run : runs_of(shard)) {
        const at::Tensor here = buffer.narrow(0, run.place, run.count).to(at::kFloat);
        const at::Tensor there = whole.narrow(0, run.global, run.count).to(buffer.scalar_type()).to(at::kFloat);
        ASSERT_TRUE(at::allclose(here, there, 1e-5, 0)) << partition::word_of(shard.kind) << " of " << shard.tensor;
    }
}

// After one update from moments of zero, the first is (1 − β₁) of the gradient and the second (1 − β₂) of its square.
TEST(HoldingsBuffers, AreWhatStageAndOptimizerHold) {
    std::mt19937 random(3);
    const auto draw = [&](int first, int last) { return std::uniform_int_distribution<int>(first, last)(random); };
    for (int round = 0; round < 12; ++round) {
        models::Gpt2Options model;
        model.n_layer = 4;
        model.n_head = 2;
        model.n_embd = 8 * draw(1, 3);
        model.n_positions = 6;
        model.vocab_size = draw(20, 60);
        model.tie_word_embeddings = draw(0, 1) == 1;
        partition::ParallelOptions parallel;
        const partition::Degrees degrees{.pp = draw(1, 2), .tp = draw(1, 2), .rdp = draw(1, 3)};
        parallel.pipeline_parallel_degree = degrees.pp;
        parallel.tensor_parallel_degree = degrees.tp;
        parallel.virtual_pipeline_degree = draw(1, 2);
        parallel.microbatches = 4;
        parallel.shard_optimizer_state = draw(0, 1) == 1;
        parallel.bf16 = draw(0, 1) == 1;
        SCOPED_TRACE(fmt::format("pp {}, tp {}, rdp {}, {} chunks, sharded {}, bf16 {}, tied {}, h {}, V {}",
                                 degrees.pp, degrees.tp, degrees.rdp, parallel.virtual_pipeline_degree,
                                 parallel.shard_optimizer_state, parallel.bf16, model.tie_word_embeddings, model.n_embd,
                                 model.vocab_size));
        const models::Model made = models::gpt2(model);
        const auto plan = partition::make_plan(
            models::module_graph(*made.spec, {.tensor_degree = degrees.tp,
                                              .sequences = 1,
                                              .length = 6,
                                              .storage = models::storage_of(parallel, partition::Device::cpu)}),
            parallel, degrees, 1);
        const partition::Precision precision = partition::precision_of(parallel);
        const auto tensors = initial_tensors(*made.spec);
        TrainingOptions training;
        training.seed = kSeed;
        testing::on_local_ranks(degrees.world(), [&](comms::Communicator& world) {
            RankGroups groups = make_groups(plan, world);
            MemoryMeter meter;
            Stage stage(made, plan, groups, meter, parallel, at::kCPU);
            AdamW optimizer(stage, training, updated_ranges(stage.layout(), groups.at.rdp, plan.shard_optimizer_state));
            set_initial_weights(stage, *made.spec, training, [&](int parameter, const at::Tensor& values) {
                optimizer.start_from(parameter, values);
            });
            const auto shards = holdings(plan, *made.spec, precision, world.rank());
            for (const Shard& shard : shards) {
                const at::Tensor& whole = tensors.at(shard.tensor);
                if (shard.kind == Held::value) expect_holds(shard, stage.flat_values(), whole);
                if (shard.kind == Held::master) expect_holds(shard, optimizer.state(Held::master), whole);
                if (shard.kind != Held::value) continue;
                for (const ShardRun& run : runs_of(shard))
                    stage.flat_gradients()
                        .narrow(0, run.place, run.count)
                        .copy_(gradient_of(whole).narrow(0, run.global, run.count));
            }
            optimizer.step(1, 1e-3, 1);
            for (const Shard& shard : shards) {
                const at::Tensor& whole = tensors.at(shard.tensor);
                if (shard.kind == Held::first_moment)
                    expect_holds(shard, optimizer.state(shard.kind), (1 - training.beta1) * gradient_of(whole));
                if (shard.kind == Held::second_moment)
                    expect_holds(shard, optimizer.state(shard.kind),
                                 (1 - training.beta2) * gradient_of(whole).square());
            }
        });
    }
}

}  // namespace
}  // namespace smp::runtime
