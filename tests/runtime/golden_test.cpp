// The trainer against runs of an independent GPT-2, in every kind of layout, with ranks as threads. If these fail, the
// numbers are wrong.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/files/safetensors.h"
#include "runtime/trainer.h"
#include "tests/runtime/golden_case.h"
#include "tests/runtime/local_ranks.h"

namespace smp {
namespace {

using testing::golden_case;
using testing::GoldenCase;
using testing::on_local_ranks;

struct Layout {
    int pp, tp, rdp;
    partition::Optimize optimize = partition::Optimize::speed;
    bool saves_memory = false;  // sharded optimizer states, each layer recomputed, its input offloaded
};

constexpr auto kMemory = partition::Optimize::memory;

/// Largest |tensor − reference|, over all parameters of the model.
std::map<std::string, double> distances(const GoldenCase& golden, const std::string& prefix,
                                        const std::map<std::string, at::Tensor>& tensors) {
    const auto reference = runtime::open_weights(golden.folder + "/reference.safetensors");
    std::map<std::string, double> result;
    for (const auto& [name, tensor] : tensors) {
        const auto* entry = reference.find(prefix + name);
        if (entry == nullptr) entry = reference.find(prefix + "transformer." + name);
        if (entry == nullptr) throw std::runtime_error("no reference for " + name);
        std::vector<float> expected(tensor.numel());
        reference.read_float(*entry, 0, expected);
        const float* values = tensor.const_data_ptr<float>();
        double largest = 0;
        for (std::size_t i = 0; i < expected.size(); ++i)
            largest = std::max(largest, std::abs(static_cast<double>(values[i]) - expected[i]));
        result[name] = largest;
    }
    return result;
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, LossesNormsGradientsAndWeightsInEveryLayout) {
    const GoldenCase golden = golden_case(GetParam());
    const bool odd = golden.name == "odd";
    const std::vector<Layout> layouts = {{1, 1, 1},
                                         {2, 1, 1},
                                         {odd ? 3 : 4, 1, 1},
                                         {1, 2, 1},
                                         {1, odd ? 3 : 4, 1},
                                         {1, 1, 2},
                                         {2, 2, 1},
                                         {2, 1, 2},
                                         {1, 2, 2},
                                         {2, 2, 2},
                                         {1, 2, 1, kMemory},
                                         {1, odd ? 2 : 4, 1, kMemory},  // 40 tokens do not divide by 3
                                         {2, 2, 1, kMemory},
                                         {1, 2, 2, kMemory},
                                         {2, 2, 2, kMemory},
                                         {2, 1, 2, {}, true},
                                         {2, 2, 2, kMemory, true}};
    for (std::size_t index = 0; index < layouts.size(); ++index) {
        const auto [pp, tp, rdp, optimize, saves_memory] = layouts[index];
        runtime::Job job = golden.job;
        job.parallel.pipeline_parallel_degree = pp;
        job.parallel.tensor_parallel_degree = tp;
        job.parallel.optimize = optimize;
        job.parallel.microbatches = 2;
        if (saves_memory) {
            job.parallel.shard_optimizer_state = job.parallel.offload_activations = true;
            job.parallel.activation_checkpointing = "each";
            job.parallel.activation_loading_horizon = 1;
            job.parallel.pipeline = partition::PipelineSchedule::simple;
        }
        job.parallel.placement_strategy = index % 2 == 0 ? "cluster" : "spread";
        SCOPED_TRACE(fmt::format("{}: pp {}, tp {}, rdp {}, {}, for {}{}", golden.name, pp, tp, rdp,
                                 job.parallel.placement_strategy, word_of(optimize),
                                 saves_memory ? ", all that saves memory on" : ""));

        std::vector<runtime::StepRecord> records;
        std::map<std::string, at::Tensor> final;
        on_local_ranks(pp * tp * rdp, [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            while (trainer.steps_done() < job.training.steps) {
                const auto record = trainer.step();
                if (world.rank() == 0) records.push_back(record);
            }
            for (const auto& name : trainer.parameter_names())
                if (const at::Tensor value = trainer.gather_value(name); value.defined()) final[name] = value;
        });
        ASSERT_EQ(records.size(), golden.losses.size());
        for (std::size_t i = 0; i < records.size(); ++i) {
            EXPECT_NEAR(records[i].loss, golden.losses[i], 10 * golden.loss_drift) << "step " << i + 1;
            EXPECT_NEAR(records[i].grad_norm, golden.grad_norms[i], 1e-5) << "step " << i + 1;
            EXPECT_DOUBLE_EQ(records[i].learning_rate, golden.learning_rates[i]) << "step " << i + 1;
        }
        for (const auto& [name, distance] : distances(golden, "final.", final))
            EXPECT_LE(distance, 10 * golden.final_drift) << name;

        // First gradients, which clipping would scale.
        job.training.gradient_clip_norm = 0;
        std::map<std::string, at::Tensor> gradients;
        on_local_ranks(pp * tp * rdp, [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            trainer.step();
            for (const auto& name : trainer.parameter_names())
                if (const at::Tensor gradient = trainer.gather_gradient(name); gradient.defined())
                    gradients[name] = gradient;
        });
        for (const auto& [name, distance] : distances(golden, "grad.", gradients))
            EXPECT_LE(distance, 10 * golden.gradient_drift) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, ::testing::Values("tiny", "odd", "untied"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace smp
