// What goes wrong on CUDA devices in the midst of a training, over the stand-in for CUDA's runtime and NCCL. If these
// fail, a rank whose device, NCCL or host fails leaves the others hanging, or its message is lost.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "runtime/trainer.h"
#include "tests/cuda_on_host/fiber_job.h"
#include "tests/cuda_on_host/queued_kernels.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using std::chrono::seconds;

// The promise is ten seconds from a failure to the end of the last rank: five times that where others use the machine.
// A wait that nobody ended would last as long as the job's own limit, ten minutes.
constexpr seconds kLatest{50};

/// What goes wrong on rank 1 of four, each with a device, and when; one of these is given.
struct Wrong {
    std::function<void()> at_the_start = {};                       // before there are ranks
    std::function<void(comms::Communicator& world)> in_step = {};  // in the midst of the second step
    std::function<void(Trainer& trainer)> instead_of_steps = {};
    seconds limit_of_calls{600};  // cluster.timeout_seconds; of waits, too, where that is said:
    bool limits_waits = false;
};

class FailureOnCuda : public standin::QueuedKernels<> {
  protected:
    /// What each rank was told. Those beside rank 1 must be told in time, and be so while what holds rank 1 up still
    /// does.
    std::vector<std::string> told(const Wrong& wrong) {
        using Clock = std::chrono::steady_clock;
        std::vector<std::string> words(4);
        std::vector<Clock::time_point> ends(4);
        std::atomic<Clock::time_point> planted{Clock::time_point::max()};
        std::atomic<int> others = 3;  // that have not ended
        auto worlds = comms::local_world(4, {.limit = {std::chrono::minutes(10), "the limit"}});
        if (wrong.at_the_start) {
            planted = Clock::now();
            wrong.at_the_start();
        }
        {
            std::vector<std::jthread> threads;
            threads.reserve(worlds.size());
            for (auto& each : worlds)
                threads.emplace_back([&, &world = *each] {
                    at::set_num_threads(1);
                    const auto rank = static_cast<std::size_t>(world.rank());
                    const auto plant = [&](const auto& what, auto& where) {
                        planted = Clock::now();
                        what(where);
                    };
                    try {
                        TrainerOptions options;
                        std::int64_t step = 0;
                        options.on_failure = [&](const std::exception& error) { world.abort(error.what(), 1); };
                        options.executor.before_action = [&](const partition::Action& action) {
                            if (wrong.in_step && step == 1 && rank == 1 &&
                                action.kind == partition::ActionKind::backward &&
                                action.microbatch == partition::MicrobatchId(1))
                                plant(wrong.in_step, world);
                        };
                        Trainer trainer(job(wrong.limit_of_calls), world, std::move(options));
                        if (wrong.limits_waits) world.set_limit({wrong.limit_of_calls, "cluster.timeout_seconds"});
                        if (wrong.instead_of_steps && rank == 1) plant(wrong.instead_of_steps, trainer);
                        if (wrong.instead_of_steps) world.barrier();
                        for (; step < 3; ++step) trainer.step();
                    } catch (const std::exception& error) {
                        words[rank] = error.what();
                        world.abort(error.what(), 1);
                    }
                    ends[rank] = Clock::now();
                    if (rank != 1) --others;
                });
            while (others > 0 && Clock::now() - kLatest < planted.load())
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            standin::control()->take_back();
        }
        for (const Clock::time_point end : ends) EXPECT_LT(end - planted.load(), kLatest);
        return words;
    }
    static void expect_all(const std::vector<std::string>& words, const std::string& part) {
        for (const std::string& word : words) EXPECT_THAT(word, ::testing::HasSubstr(part));
    }
    /// The end of rank 1's communicators does not return from now on.
    static void let_nccl_stay() { standin::control()->plant({.call = "ncclCommAbort", .device = 1, .stalls = true}); }

  private:
    Job job(seconds limit) const {
        Job layout = smp::testing::deeper_fiber_job(folder_);
        layout.parallel.pipeline_parallel_degree = layout.parallel.tensor_parallel_degree = 2;
        layout.cluster.devices_per_node = 4;
        layout.cluster.device = partition::Device::cuda;
        layout.cluster.timeout_seconds = static_cast<double>(limit.count());
        return layout;
    }

    smp::testing::ScratchFolder folder_;
};

TEST_F(FailureOnCuda, ThatARankThrowsReachesAll) {
    expect_all(told({.in_step = [](comms::Communicator&) { throw std::runtime_error("planted"); }}), "planted");
}

TEST_F(FailureOnCuda, ThatARankThrowsReachesAllThoughItsNcclDoesNotEnd) {
    expect_all(told({.in_step =
                         [](comms::Communicator&) {
                             let_nccl_stay();
                             throw std::runtime_error("planted");
                         }}),
               "planted");
}

TEST_F(FailureOnCuda, ThatNcclReportsReachesAll) {
    expect_all(
        told({.in_step =
                  [](comms::Communicator&) { standin::control()->fail_communicators(1, 3 /*ncclInternalError*/); }}),
        "internal error");
}

TEST_F(FailureOnCuda, ThatNcclReportsReachesAllThoughItDoesNotEnd) {
    expect_all(told({.in_step =
                         [](comms::Communicator&) {
                             let_nccl_stay();
                             standin::control()->fail_communicators(1, 3 /*ncclInternalError*/);
                         }}),
               "internal error");
}

TEST_F(FailureOnCuda, OfNcclsBeginningReachesAllThoughItDoesNotEnd) {
    expect_all(
        told({.at_the_start =
                  [] {
                      let_nccl_stay();
                      standin::control()->plant(
                          {.call = "ncclCommInitRankConfig", .device = 1, .after = 1, .result = 2 /*ncclSystemError*/});
                  }}),
        "ncclCommInitRankConfig in 'tensor' (I am rank 1, GPU 1) failed: unhandled system error");
}

TEST_F(FailureOnCuda, ThatACallOfCudaReportsReachesAll) {
    expect_all(told({.in_step =
                         [](comms::Communicator&) {
                             standin::control()->plant({.call = "cudaEventRecord", .device = 1, .result = 700});
                         }}),
               "cudaEventRecord failed");
}

TEST_F(FailureOnCuda, OfMemorySaysWhatTheRankHolds) {
    const auto words = told({.in_step = [](comms::Communicator&) {
        standin::control()->plant({.call = "cudaMalloc", .device = 1, .result = 2});
        at::empty({1 << 28}, at::TensorOptions(at::kByte).device(at::kCUDA, 1));
    }});
    expect_all(words, "out of memory in ");
    expect_all(words, "the CUDA device refuses more; this rank holds parameters ");
}

// Longer than a step takes where every CUDA thread is a fiber and others use this machine.
constexpr seconds kLimit{5};

// Rank 1 does not come to its messages: the others' devices wait for it, and the hosts find that out.
TEST_F(FailureOnCuda, OfARankThatStandsStillIsNamedByThoseWhoWait) {
    const auto words = told({.in_step =
                                 [&](comms::Communicator& world) {
                                     while (!world.has_failed()) {
                                         world.progress();
                                         std::this_thread::sleep_for(std::chrono::milliseconds(10));
                                     }
                                 },
                             .limit_of_calls = kLimit,
                             .limits_waits = true});
    EXPECT_THAT(words, ::testing::Contains(::testing::AllOf(
                           ::testing::HasSubstr("did not complete within 5 s (cluster.timeout_seconds)"),
                           ::testing::HasSubstr("rank 1"))));
}

TEST_F(FailureOnCuda, OfARankThatLooksForNothingIsNamedByItsWatch) {
    expect_all(told({.in_step =
                         [&](comms::Communicator& world) {
                             while (!world.has_failed()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
                         },
                     .limit_of_calls = kLimit}),
               "one call has not come back for 5 s (cluster.timeout_seconds), in step 2: ");
}

TEST_F(FailureOnCuda, OfACallThatDoesNotReturnIsToldByTheWatch) {
    expect_all(told({.in_step =
                         [](comms::Communicator&) {
                             standin::control()->plant({.call = "cudaEventRecord", .device = 1, .stalls = true});
                         },
                     .limit_of_calls = kLimit}),
               "one call has not come back for 5 s (cluster.timeout_seconds), in step 2: ");
}

TEST_F(FailureOnCuda, OfACallInASnapshotIsToldByTheWatch) {
    expect_all(told({.instead_of_steps =
                         [](Trainer& trainer) {
                             standin::control()->plant({.call = "cudaMemcpyAsync", .device = 1, .stalls = true});
                             trainer.snapshot();
                         },
                     .limit_of_calls = seconds(1)}),
               "one call has not come back for 1 s (cluster.timeout_seconds), in the snapshot of step 0; see ");
}

}  // namespace
}  // namespace smp::runtime
