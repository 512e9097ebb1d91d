// What goes wrong on CUDA devices in the midst of a training, over the stand-in for CUDA's runtime and NCCL. If these
// fail, a rank whose device, NCCL or host fails leaves the others hanging, or its message is lost.
#include <chrono>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
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

/// What goes wrong on one of four ranks, each with a device, in the second step.
class FailureOnCuda : public standin::QueuedKernels<> {
  protected:
    /// What each rank was told. `fail` is called by rank 1 in the midst of its second step.
    std::vector<std::string> told(const std::function<void(comms::Communicator&)>& fail, double timeout = 600,
                                  const std::function<void(const std::string&)>& on_stuck = {}) {
        Job layout = smp::testing::fiber_job(folder_);
        smp::testing::change_model(layout, [](auto& model) {
            model.n_layer = 4;
            model.embd_pdrop = model.attn_pdrop = model.resid_pdrop = 0.1;
        });
        layout.training.global_batch_size = 8;
        layout.training.gradient_clip_norm = 0.3;
        layout.parallel.pipeline_parallel_degree = layout.parallel.tensor_parallel_degree = 2;
        layout.cluster.devices_per_node = 4;
        layout.cluster.device = partition::Device::cuda;
        layout.cluster.timeout_seconds = timeout;
        std::vector<std::string> words(4);
        auto worlds = comms::local_world(4, {.limit = {std::chrono::minutes(10), "the limit"}});
        {
            std::vector<std::jthread> threads;
            threads.reserve(worlds.size());
            for (auto& each : worlds)
                threads.emplace_back([&, &world = *each] {
                    at::set_num_threads(1);
                    try {
                        TrainerOptions options;
                        options.on_stuck = on_stuck;
                        std::int64_t step = 0;
                        options.executor.before_action = [&](const partition::Action& action) {
                            if (step == 1 && world.rank() == 1 && action.kind == partition::ActionKind::backward &&
                                action.microbatch == partition::MicrobatchId(1))
                                fail(world);
                        };
                        Trainer trainer(layout, world, std::move(options));
                        world.set_limit({std::chrono::milliseconds(static_cast<std::int64_t>(1e3 * timeout)),
                                         "cluster.timeout_seconds"});
                        for (; step < 3; ++step) trainer.step();
                    } catch (const std::exception& error) {
                        words[static_cast<std::size_t>(world.rank())] = error.what();
                        world.abort(error.what(), 1);
                    }
                });
        }
        return words;
    }
    static void expect_all(const std::vector<std::string>& words, const std::string& part) {
        for (const std::string& word : words) EXPECT_THAT(word, ::testing::HasSubstr(part));
    }

    smp::testing::ScratchFolder folder_;
};

TEST_F(FailureOnCuda, ThatARankThrowsReachesAll) {
    expect_all(told([](comms::Communicator&) { throw std::runtime_error("planted"); }), "planted");
}

TEST_F(FailureOnCuda, ThatNcclReportsReachesAll) {
    expect_all(told([](comms::Communicator&) { standin::control()->fail_communicators(1, 3 /*ncclInternalError*/); }),
               "internal error");
}

TEST_F(FailureOnCuda, ThatACallOfCudaReportsReachesAll) {
    expect_all(told([](comms::Communicator&) {
                   standin::control()->plant({.call = "cudaEventRecord", .device = 1, .result = 700});
               }),
               "cudaEventRecord failed");
}

TEST_F(FailureOnCuda, OfMemorySaysWhatTheRankHolds) {
    const auto words = told([](comms::Communicator&) {
        standin::control()->plant({.call = "cudaMalloc", .device = 1, .result = 2});
        at::empty({1 << 28}, at::TensorOptions(at::kByte).device(at::kCUDA, 1));
    });
    expect_all(words, "out of memory in ");
    expect_all(words, "the CUDA device refuses more; this rank holds parameters ");
}

// Longer than a step takes where every CUDA thread is a fiber and others use this machine.
constexpr double kLimit = 5;

// Rank 1 does not come to its messages: the others' devices wait for it, and the hosts find that out.
TEST_F(FailureOnCuda, OfARankThatStandsStillIsNamedByThoseWhoWait) {
    const auto words = told(
        [&](comms::Communicator& world) {
            while (!world.has_failed()) {
                world.progress();
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
            }
        },
        kLimit);
    EXPECT_THAT(words, ::testing::Contains(::testing::AllOf(
                           ::testing::HasSubstr("did not complete within 5 s (cluster.timeout_seconds)"),
                           ::testing::HasSubstr("rank 1"))));
}

TEST_F(FailureOnCuda, OfARankThatLooksForNothingIsNamedByItsWatch) {
    expect_all(told(
                   [&](comms::Communicator& world) {
                       while (!world.has_failed()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
                   },
                   kLimit),
               "rank 1 has been inside one call for 5 s (cluster.timeout_seconds), in ");
}

TEST_F(FailureOnCuda, OfACallThatDoesNotReturnIsFoundByTheWatch) {
    std::promise<std::string> stuck;
    const auto words = told(
        [](comms::Communicator&) {
            standin::control()->plant({.call = "cudaEventRecord", .device = 1, .stalls = true});
        },
        kLimit,
        [&](const std::string& why) {  // a program ends here
            stuck.set_value(why);
            standin::control()->take_back();
        });
    auto told_of = stuck.get_future();
    ASSERT_EQ(told_of.wait_for(std::chrono::seconds(0)), std::future_status::ready) << words[1];
    const std::string why = told_of.get();
    EXPECT_THAT(why, ::testing::HasSubstr("rank 1 has been inside one call for "));
    EXPECT_THAT(why, ::testing::HasSubstr("; it does not come back"));
}

}  // namespace
}  // namespace smp::runtime
