// That a join that is missing in the program would be found: the stand-in leaves out what makes one kind of stream wait
// for another, holds the awaited ones back, and a training must end with other numbers or an error. If these fail, the
// trainings over the stand-in (training_test.cpp) pass with a race in them.
#include <algorithm>
#include <exception>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

/// Waiting and awaited, by what streams are for (standin::Control).
using Joins = std::set<std::pair<std::string, std::string>>;

struct Layout {
    const char* name;
    int ranks;
    void (*set)(partition::ParallelOptions& parallel);
    std::vector<std::string> purposes;  // of streams that must be there beside compute
};

const std::vector<Layout>& layouts() {
    static const std::vector<Layout> all{
        {.name = "two_stages",
         .ranks = 2,
         .set = [](partition::ParallelOptions& parallel) { parallel.pipeline_parallel_degree = 2; },
         .purposes = {"activations 0 -> 1", "gradients 1 -> 0", "tied 0 -> 1", "tied 1 -> 0", "everyone"}},
        {.name = "tensor_ranks_and_replicas_that_offload",
         .ranks = 4,
         .set =
             [](partition::ParallelOptions& parallel) {
                 parallel.tensor_parallel_degree = 2;
                 parallel.optimize = partition::Optimize::memory;
                 parallel.shard_optimizer_state = parallel.offload_activations = true;
                 parallel.activation_checkpointing = "each";
                 parallel.activation_loading_horizon = 1;
             },
         .purposes = {"tensor", "data", "copies out", "copies in", "everyone"}},
    };
    return all;
}

class RemovedJoins : public standin::QueuedKernels<::testing::TestWithParam<Layout>> {
  protected:
    /// Losses, norms and all values after three steps. `meddle` is called between the first two, and so the last one
    /// starts from what the second has left on all ranks.
    std::string train(const std::function<void()>& meddle) {
        Job job = smp::testing::fiber_job(folder_);
        smp::testing::change_model(job, [](auto& model) { model.n_embd = model.n_positions = 4; });  // many runs
        job.training.sequence_length = 4;
        job.training.global_batch_size = 6;
        job.parallel.microbatches = 3;
        job.training.gradient_clip_norm = 0.3;
        GetParam().set(job.parallel);
        job.cluster.devices_per_node = GetParam().ranks;
        job.cluster.device = partition::Device::cuda;
        std::string numbers;
        smp::testing::on_local_ranks(GetParam().ranks, [&](comms::Communicator& world) {
            Trainer trainer(job, world);
            const auto add = [&](double number) {
                if (world.rank() == 0) numbers += fmt::format("{} ", number);
            };
            const auto on_one = [&](const auto& act) {
                world.barrier();
                if (world.rank() == 0) act();
                world.barrier();
            };
            for (int step = 0; step < 3; ++step) {
                if (step == 1) on_one(meddle);
                const StepRecord record = trainer.step();
                add(record.loss);
                add(record.grad_norm);
            }
            on_one(standin::control()->take_back);
            for (const std::string& name : trainer.parameter_names())
                if (const at::Tensor value = trainer.gather_value(name); value.defined())
                    for (std::int64_t i = 0; i < value.numel(); ++i) add(value.const_data_ptr<float>()[i]);
        });
        return numbers;
    }

    std::string numbers_or_error(const std::function<void()>& meddle) {
        try {
            return train(meddle);
        } catch (const std::exception& error) {
            standin::control()->take_back();
            return error.what();
        }
    }

    /// Of all devices, since the last call.
    static Joins joins() {
        Joins all;
        const auto take = [](void* context, const char* waiting, const char* awaited) {
            static_cast<Joins*>(context)->emplace(waiting, awaited);
        };
        for (int device = 0; device < GetParam().ranks; ++device) standin::control()->joins(device, take, &all);
        return all;
    }

    /// Leaves out each kind of join `seeds` times, and looks whether lateness alone changes anything as often.
    void expect_each_found_in(int seeds) {
        const standin::Control& control = *standin::control();
        const std::string expected = train([] { joins(); });
        const Joins all = joins();
        for (const std::string& purpose : GetParam().purposes) {
            EXPECT_THAT(all, ::testing::Contains(std::pair(std::string("compute"), purpose)));
            EXPECT_THAT(all, ::testing::Contains(std::pair(purpose, std::string("compute"))));
        }
        std::mt19937_64 random(smp::testing::seed());
        std::vector<std::string> purposes = GetParam().purposes;
        purposes.emplace_back("compute");
        std::shuffle(purposes.begin(), purposes.end(), random);
        for (int i = 0; i < seeds; ++i) {
            const std::string& late = purposes[i % purposes.size()];
            control.delay(random(), 200);
            EXPECT_TRUE(train([&] { control.hold_back(late.c_str()); }) == expected) << late << " is late";
        }
        for (const auto& [waiting, awaited] : all) {
            for (int i = 0; i < seeds; ++i) {
                const std::uint64_t seed = random();
                control.delay(seed, 200);
                const std::string numbers = numbers_or_error([&] {
                    control.hold_back(awaited.c_str());
                    control.ignore_joins(waiting.c_str(), awaited.c_str());
                });
                EXPECT_TRUE(numbers != expected)  // hundreds of numbers, which nobody reads
                    << waiting << " does not wait for " << awaited << ", and nobody finds it; seed " << seed;
            }
        }
    }

  private:
    smp::testing::ScratchFolder folder_;
};
class RemovedJoinsSlow : public RemovedJoins {};

std::string name_of(const ::testing::TestParamInfo<Layout>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Of, RemovedJoins, ::testing::ValuesIn(layouts()), name_of);
INSTANTIATE_TEST_SUITE_P(Of, RemovedJoinsSlow, ::testing::ValuesIn(layouts()), name_of);

TEST_P(RemovedJoins, AreFoundByTheNumbers) { expect_each_found_in(1); }

TEST_P(RemovedJoinsSlow, AreFoundByTheNumbersInEveryOneOfHundredSeeds) { expect_each_found_in(100); }

}  // namespace
}  // namespace smp::runtime
