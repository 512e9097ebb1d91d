// What the metrics say of waits on CUDA devices, over the stand-in (tests/standin). If these fail, a step's time is
// said to go where it does not, or measuring it costs a step what it may not.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using partition::ActionKind;

constexpr auto kDelay = std::chrono::seconds(1);
// What a rank that is held up for kDelay has waited at least: on a busy machine it comes late to its wait.
constexpr double kLeast = 0.3;

/// Whether a kernel of NCCL waits on the device, in a communicator whose name has `part`.
bool has_waiting_kernel(int device, const std::string& part) {
    struct Search {
        std::string start, part;
        bool found = false;
    } search{.start = "device " + std::to_string(device) + ":", .part = part};
    standin::control()->waiting_kernels(
        [](void* context, const char* line) {
            auto& own = *static_cast<Search*>(context);
            const std::string kernel = line;
            own.found = own.found || (kernel.starts_with(own.start) &&
                                      kernel.find(own.part, kernel.find(" in '")) != std::string::npos);
        },
        &search);
    return search.found;
}

class WaitsOfTrainingOnCuda : public standin::QueuedKernels<> {
  protected:
    Job job(int pp, int tp, int ranks) const {
        Job job = smp::testing::fiber_job(folder_);
        job.training.global_batch_size = 4;
        job.training.steps = 2;
        job.cluster.device = partition::Device::cuda;
        job.cluster.devices_per_node = ranks;
        job.parallel.pipeline_parallel_degree = pp;
        job.parallel.tensor_parallel_degree = tp;
        return job;
    }

    struct Late {
        int rank = -1;
        ActionKind kind = ActionKind::forward;
        int held_up = 0;                // another rank
        std::string communicator = {};  // where that waits
    };
    /// Of two steps. In the second one a rank reaches its first action of a kind kDelay after another's device has
    /// begun to wait.
    std::array<StepRecord, 2> two_steps(const Job& job, const Late& late, ExecutorOptions executor = {}) {
        std::array<StepRecord, 2> records;
        smp::testing::on_local_ranks(*job.cluster.devices_per_node, [&](comms::Communicator& world) {
            std::int64_t step = 0;
            bool was_late = false;
            TrainerOptions options{.executor = executor};
            options.executor.before_action = [&](const partition::Action& action) {
                if (step != 2 || world.rank() != late.rank || action.kind != late.kind || was_late) return;
                was_late = true;
                while (!has_waiting_kernel(late.held_up, late.communicator))
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                std::this_thread::sleep_for(kDelay);
            };
            Trainer trainer(job, world, std::move(options));
            for (step = 1; step <= 2; ++step) {
                const std::int64_t events = standin::control()->events_created(world.rank());
                const StepRecord record = trainer.step();
                if (step == 2 && !job.cluster.share_devices) {
                    EXPECT_EQ(standin::control()->events_created(world.rank()), events);
                }
                if (world.rank() == 0) records[static_cast<std::size_t>(step) - 1] = record;
            }
        });
        return records;
    }
    StepRecord second_step(const Job& job, const Late& late) { return two_steps(job, late).back(); }
    static void expect_parts_within_the_step(const StepRecord& record) {
        for (const RankStep& rank : record.ranks) {
            EXPECT_GE(rank.exposed_seconds, 0);
            EXPECT_GE(rank.wait_seconds, rank.exposed_seconds);
            EXPECT_GE(rank.seconds, rank.wait_seconds + rank.data_seconds);
            EXPECT_GE(rank.seconds, rank.busy_seconds + rank.idle_seconds + rank.data_seconds);
            EXPECT_GT(rank.busy_seconds, 0);
        }
        EXPECT_GT(record.bubble, 0);
    }

    smp::testing::ScratchFolder folder_;
};

TEST_F(WaitsOfTrainingOnCuda, ForAnotherStageAreNotItsOwnWork) {
    const StepRecord record = second_step(job(2, 1, 2), {.rank = 0, .held_up = 1});
    expect_parts_within_the_step(record);
    const RankStep &late = record.ranks.at(0), &waiting = record.ranks.at(1);
    EXPECT_GE(waiting.wait_seconds - waiting.exposed_seconds, kLeast);
    EXPECT_GE(waiting.idle_seconds, kLeast);
    EXPECT_GE(late.work_seconds(), kLeast);
    EXPECT_EQ(record.slowest_rank_seconds, std::max(late.work_seconds(), waiting.work_seconds()));
    EXPECT_EQ(record.wait_seconds, std::max(late.wait_seconds, waiting.wait_seconds));
}

TEST_F(WaitsOfTrainingOnCuda, InsideAnActionAreExposedAndNoBubble) {
    const StepRecord record = second_step(job(1, 2, 2), {.rank = 1, .communicator = "tensor"});
    expect_parts_within_the_step(record);
    const RankStep& waiting = record.ranks.at(0);
    EXPECT_GE(waiting.exposed_seconds, kLeast);
    EXPECT_GE(waiting.wait_seconds - waiting.idle_seconds, kLeast);
    EXPECT_GE(record.ranks.at(1).work_seconds(), kLeast);
}

TEST_F(WaitsOfTrainingOnCuda, ForTheUpdateAreIdle) {
    const StepRecord record =
        second_step(job(1, 2, 2), {.rank = 1, .kind = ActionKind::optimizer_step, .communicator = "everyone"});
    expect_parts_within_the_step(record);
    const RankStep& waiting = record.ranks.at(0);
    EXPECT_GE(waiting.idle_seconds, kLeast);
    EXPECT_GE(waiting.wait_seconds - waiting.exposed_seconds, kLeast);
    EXPECT_GE(record.ranks.at(1).work_seconds(), kLeast);
}

TEST_F(WaitsOfTrainingOnCuda, AreUnknownWhereRanksShareADeviceAndOfMoreThanAreTimed) {
    Job shared = job(1, 1, 17);  // one more than there are devices
    shared.training.global_batch_size = 17;
    shared.parallel.microbatches = 1;
    shared.cluster.share_devices = true;
    const auto sharing = two_steps(shared, {}), untimed = two_steps(job(2, 1, 2), {}, {.most_timed_joins = 3});
    for (const StepRecord& record : {sharing.front(), sharing.back(), untimed.front(), untimed.back()}) {
        for (const double unknown :
             {record.wait_seconds, record.exposed_communication_seconds, record.bubble, record.slowest_rank_seconds})
            EXPECT_TRUE(std::isnan(unknown));
        EXPECT_FALSE(record.straggler_rank.has_value());
    }
    EXPECT_EQ(sharing.front().notice, "");
    EXPECT_EQ(untimed.front().notice,
              "warning: step 1: a rank's device waits at more than 3 places in a step, which are too many to time: "
              "waits, bubble and stragglers stay unknown");
    EXPECT_EQ(untimed.back().notice, "");
    const auto timed = two_steps(job(2, 1, 2), {}, {.most_timed_joins = 300});
    EXPECT_FALSE(std::isnan(timed.back().wait_seconds));
}

}  // namespace
}  // namespace smp::runtime
