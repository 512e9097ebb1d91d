// The messages of whole plans over the real comms/backends/nccl.cpp: what the checker's machine proves (a rendezvous
// for each message, one order a communicator) holds on a second, independent one, with delays. If these fail, a
// pipeline on GPUs hangs, or receives what was overwritten.
#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "comms/communicator.h"
#include "partition/check/checker_passes.h"
#include "partition/plan/edges.h"
#include "runtime/execution/issue.h"
#include "runtime/stage/rank_groups.h"
#include "tests/partition/every_job.h"
#include "tests/runtime/local_ranks.h"
#include "tests/standin/over_standin.h"

namespace smp::standin {
namespace {

using partition::Action;
using partition::ActionKind;
using partition::BufferId;
using partition::testing::Job;

constexpr int kMostMicrobatches = 32, kMostChunks = 4;

/// What tensors hold, in pinned memory: numbers that name an edge and a microbatch, and two that name none.
class Contents {
  public:
    static constexpr std::int64_t kNumel = 8;

    Contents(std::size_t edges, const comms::RankDevice& device) {
        const auto rows = static_cast<std::int64_t>(2 + edges * (kMostMicrobatches + 1));
        table_ = device.host_memory(rows * kNumel * 8).view(at::kLong).view({rows, kNumel});
        for (std::int64_t row = 0; row < rows; ++row) table_[row].fill_(row);
    }
    at::Tensor nothing() const { return table_[0]; }
    at::Tensor freed() const { return table_[1]; }
    at::Tensor message(std::int64_t edge, partition::MicrobatchId microbatch) const {
        const int number = microbatch == partition::kNone ? kMostMicrobatches : microbatch.number();
        return table_[2 + edge * (kMostMicrobatches + 1) + number];
    }
    static std::int64_t number_in(const at::Tensor& row) { return row[kNumel - 1].item<std::int64_t>(); }

  private:
    at::Tensor table_;
};

/// Issues sends and receives of small tensors as a step is issued: the host does not wait. What has come is copied out
/// where its buffer is freed, and what is freed is overwritten, both in the order of compute.
class Messages final : public runtime::Performer {
  public:
    Messages(const std::vector<partition::Edge>& edges, const partition::RankProgram& program,
             const runtime::RankGroups& groups, const Contents& contents)
        : edges_(edges), groups_(groups), contents_(contents) {
        const auto receives = std::ranges::count(program.actions, ActionKind::receive, &Action::kind);
        arrived_ = groups.device->host_memory(8 * receives).view(at::kLong);
    }

    comms::Work perform(const Action& action, const std::function<void()>&) override {
        if (action.kind == ActionKind::optimizer_step) meet_all();
        for (const BufferId buffer : action.consumes) free(buffer);
        if (action.kind != ActionKind::send && action.kind != ActionKind::receive) return {};
        const partition::Edge edge = partition::edge_of(groups_.at.stage(), action);
        const at::Tensor content =
            contents_.message(std::find(edges_.begin(), edges_.end(), edge) - edges_.begin(), action.microbatch);
        const bool sends = action.kind == ActionKind::send;
        const BufferId buffer = (sends ? action.reads : action.writes).front();
        if (!sends) awaited_[buffer] = Contents::number_in(content);
        at::Tensor& tensor = tensors_[buffer] = groups_.device->copy_of(sends ? content : contents_.nothing());
        return sends ? groups_.send(edge, tensor) : groups_.receive(edge, tensor);
    }

    void free(BufferId buffer) override {
        const auto found = tensors_.find(buffer);
        if (found == tensors_.end()) return;
        if (const auto awaited = awaited_.find(buffer); awaited != awaited_.end()) {
            const auto number = static_cast<std::int64_t>(expected_.size());
            groups_.device->copy(arrived_.narrow(0, number, 1), found->second.narrow(0, Contents::kNumel - 1, 1));
            expected_.push_back(awaited->second);
        }
        groups_.device->copy(found->second, contents_.freed());
        tensors_.erase(found);
    }

    /// Once the device has done it all.
    bool have_arrived() const {
        return std::equal(expected_.begin(), expected_.end(), arrived_.const_data_ptr<std::int64_t>(),
                          arrived_.const_data_ptr<std::int64_t>() + arrived_.numel());
    }

  private:
    void meet_all() const {
        const auto bytes = at::TensorOptions(at::kByte).device(groups_.device->device());
        groups_.everyone->all_gather(at::empty({groups_.everyone->size()}, bytes), at::empty({1}, bytes)).join();
    }

    const std::vector<partition::Edge>& edges_;
    const runtime::RankGroups& groups_;
    const Contents& contents_;
    std::map<BufferId, at::Tensor> tensors_;
    std::map<BufferId, std::int64_t> awaited_;
    std::vector<std::int64_t> expected_;
    at::Tensor arrived_;  // in the order of freeing
};

/// What each of `jobs`, all of as many stages, sends in a step and in an evaluation, on the same communicators.
void pass_messages(int stages, const std::vector<Job>& jobs) {
    std::mt19937_64 random(smp::testing::seed());
    const partition::Plan largest = partition::testing::plan_of({.stages = stages,
                                                                 .microbatches = stages,
                                                                 .tied = true,
                                                                 .evaluation_microbatches = stages,
                                                                 .chunks_per_stage = kMostChunks});
    const auto edges = partition::edges_of({&largest.training, &largest.evaluation, &largest.sampling});
    partition::Plan plan;
    smp::testing::on_local_ranks(stages, [&](comms::Communicator& world) {
        runtime::RankGroups groups = runtime::make_groups(
            largest, world, {.device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(world.rank()))});
        const auto guard = groups.device->enter();
        const Contents contents(edges.size(), *groups.device);
        for (const Job& job : jobs) {
            world.barrier();
            if (world.rank() == 0) {
                plan = partition::testing::plan_of(job);
                control()->delay(random(), std::array{0, 20, 100}[random() % 3]);
                for (const auto* programs : {&plan.training, &plan.evaluation})
                    EXPECT_THAT(partition::passes::check_end(*programs), ::testing::IsEmpty()) << text_of(job);
            }
            world.barrier();
            for (const auto* programs : {&plan.training, &plan.evaluation}) {
                Messages messages(edges, (*programs)[groups.at.stage()], groups, contents);
                runtime::issue((*programs)[groups.at.stage()], messages, *groups.in_flight());
                groups.finish("the messages of " + text_of(job));
                EXPECT_TRUE(messages.have_arrived())
                    << text_of(job) << (programs == &plan.training ? ": training" : ": evaluation");
            }
        }
    });
}

std::vector<Job> jobs_of(int stages) {
    std::vector<int> microbatches(kMostMicrobatches);
    std::iota(microbatches.begin(), microbatches.end(), 1);
    return partition::testing::every_job({stages}, microbatches, kMostChunks);
}

/// The fewest and the most of everything that a pipeline has.
bool is_corner(const Job& job) {
    const auto is_end = [](int value, int least, int most) { return value == least || value == most; };
    return is_end(job.stages, 2, 8) && is_end(job.microbatches, 1, kMostMicrobatches) &&
           is_end(job.chunks_per_stage, 1, kMostChunks) && (!job.active || is_end(*job.active, 1, kMostMicrobatches));
}

class PlanMessages : public OverStandIn<::testing::TestWithParam<int>> {};
class EveryPlansMessages : public PlanMessages {};

std::string stages_of(const ::testing::TestParamInfo<int>& info) { return fmt::format("{}_stages", info.param); }
INSTANTIATE_TEST_SUITE_P(Of, PlanMessages, ::testing::Range(2, 9), stages_of);
INSTANTIATE_TEST_SUITE_P(Of, EveryPlansMessages, ::testing::Range(2, 9), stages_of);

// All corners, and some more that are drawn.
TEST_P(PlanMessages, ArriveInTime) {
    constexpr std::size_t kDrawn = 20;
    std::vector<Job> jobs = jobs_of(GetParam());
    const auto others = std::ranges::stable_partition(jobs, is_corner);
    std::shuffle(others.begin(), others.end(), std::mt19937_64(smp::testing::seed()));
    jobs.resize(jobs.size() - others.size() + kDrawn);
    pass_messages(GetParam(), jobs);
}

TEST_P(EveryPlansMessages, ArriveInTime) { pass_messages(GetParam(), jobs_of(GetParam())); }

}  // namespace
}  // namespace smp::standin
