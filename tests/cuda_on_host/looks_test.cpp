// How often the host looks at what a device has in flight, over the stand-in (tests/standin). If it fails, a host that
// runs a step ahead looks at each operation behind each action, and steps with many of both wait for it.
#include <chrono>
#include <cstdint>
#include <optional>

#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

class LooksOfTrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    smp::testing::ScratchFolder folder_;
};

// One look in 5 ms, each at no more than what was begun, and one at each operation as it begins. The devices do nothing
// until the hosts have come to the end, so that all stays in flight.
TEST_F(LooksOfTrainingOnCuda, AreTakenByTheClockHoweverMuchIsInFlight) {
    constexpr std::chrono::milliseconds kBetween{5};
    Job job = smp::testing::fiber_job(folder_);
    job.parallel.microbatches = 24;
    job.parallel.tensor_parallel_degree = 2;
    job.training.global_batch_size = 24;
    job.training.steps = 2;
    job.cluster.device = partition::Device::cuda;
    job.cluster.devices_per_node = 2;
    smp::testing::on_local_ranks(2, [&](comms::Communicator& world) {
        const standin::Control& device = *standin::control();
        struct Calls {
            std::int64_t recorded, queried;
            std::chrono::steady_clock::time_point at;
        };
        const auto so_far = [&] {
            return Calls{device.events_recorded(world.rank()), device.events_queried(world.rank()),
                         std::chrono::steady_clock::now()};
        };
        std::optional<Calls> first, last;
        TrainerOptions options{.executor = {.most_timed_joins = 0}};
        options.executor.before_action = [&](const partition::Action&) {
            last = so_far();
            if (!first) first = last;
        };
        Trainer trainer(job, world, std::move(options));
        trainer.step();
        world.barrier();
        if (world.rank() == 0) device.hold_back("compute");
        world.barrier();
        first.reset();
        trainer.step();
        // Of each operation: what it begins behind, and its end.
        const std::int64_t most_in_flight = (last->recorded - first->recorded) / 2;
        const std::int64_t looks = 1 + (last->at - first->at) / kBetween;
        EXPECT_GT(most_in_flight, 200);
        EXPECT_LE(last->queried - first->queried, most_in_flight * (1 + looks));
    });
}

}  // namespace
}  // namespace smp::runtime
