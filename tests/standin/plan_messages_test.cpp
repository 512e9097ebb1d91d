// The messages of whole plans over the real comms/backends/nccl.cpp: what the checker's machine proves (a rendezvous
// for each message, one order a communicator) holds on a second, independent one, with delays. If these fail, a
// pipeline on GPUs hangs, or receives what was overwritten.
#include <algorithm>
#include <map>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "comms/backends/nccl.h"
#include "comms/communicator.h"
#include "partition/plan/edges.h"
#include "runtime/execution/issue.h"
#include "runtime/stage/rank_groups.h"
#include "tests/partition/small_jobs.h"
#include "tests/runtime/local_ranks.h"
#include "tests/seed.h"
#include "tests/standin/control.h"

namespace smp::standin {
namespace {

using partition::Action;
using partition::ActionKind;
using partition::BufferId;

/// Sends and receives tensors that name their edge and microbatch, looks at what has come when it is freed, and
/// overwrites what is freed.
class Messages final : public runtime::Performer {
  public:
    Messages(const std::vector<partition::Edge>& edges, const partition::RankProgram& program,
             const runtime::RankGroups& groups)
        : edges_(edges), program_(program), groups_(groups) {}

    comms::Work perform(const Action& action, const std::function<void()>&) override {
        if (action.kind == ActionKind::optimizer_step) groups_.world->barrier();
        for (const BufferId buffer : action.consumes) free(buffer);
        if (action.kind != ActionKind::send && action.kind != ActionKind::receive) return {};
        const partition::Edge edge = partition::edge_of(groups_.at.stage(), action);
        const auto number = std::find(edges_.begin(), edges_.end(), edge) - edges_.begin();
        const double value = 100.0 * static_cast<double>(number + 1) +
                             (action.microbatch == partition::kNone ? 0.0 : action.microbatch.number());
        const bool sends = action.kind == ActionKind::send;
        const BufferId buffer = (sends ? action.reads : action.writes).front();
        if (!sends) expected_[buffer] = value;
        tensors_[buffer] = on_device(sends ? value : kNothing);
        return sends ? groups_.send(edge, tensors_[buffer]) : groups_.receive(edge, tensors_[buffer]);
    }

    void free(BufferId buffer) override {
        const auto found = tensors_.find(buffer);
        if (found == tensors_.end()) return;
        if (const auto value = expected_.find(buffer); value != expected_.end()) {
            EXPECT_EQ(found->second[kNumel - 1].item<double>(), value->second)
                << partition::name_of(program_.buffers[buffer]);
            ++received_;
        }
        found->second.copy_(at::full({kNumel}, kFreed));
        tensors_.erase(found);
    }

    int received() const { return received_; }

  private:
    static constexpr std::int64_t kNumel = 1000;
    static constexpr double kNothing = -1, kFreed = -2;

    at::Tensor on_device(double value) const {
        return at::full({kNumel}, value)
            .to(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(groups_.world->rank())));
    }

    const std::vector<partition::Edge>& edges_;
    const partition::RankProgram& program_;
    const runtime::RankGroups& groups_;
    std::map<BufferId, at::Tensor> tensors_;
    std::map<BufferId, double> expected_;
    int received_ = 0;
};

class PlanMessages : public ::testing::TestWithParam<partition::testing::Job> {};

INSTANTIATE_TEST_SUITE_P(
    Of, PlanMessages, ::testing::ValuesIn([] {
        using partition::PipelineSchedule;
        std::vector<partition::testing::Job> jobs;
        for (const bool tied : {false, true}) {
            for (const int stages : {2, 4, 8}) {
                partition::testing::Job job{.stages = stages,
                                            .microbatches = 9,
                                            .schedule = PipelineSchedule::simple,
                                            .tied = tied,
                                            .evaluation_microbatches = 4};
                jobs.push_back(job);
                job.active = std::min(stages + 1, 9);
                for (const auto schedule : {PipelineSchedule::interleaved, PipelineSchedule::zero_bubble}) {
                    job.schedule = schedule;
                    jobs.push_back(job);
                }
            }
        }
        for (const int stages : {2, 3, 4})
            for (const int chunks : {2, 3, 4})
                jobs.push_back({.stages = stages,
                                .microbatches = 8,
                                .tied = true,
                                .evaluation_microbatches = 3,
                                .chunks_per_stage = chunks});
        return jobs;
    }()),
    [](const auto& job) {
        return fmt::format("{}_{}_stages_{}_chunks{}", word_of(job.param.schedule), job.param.stages,
                           job.param.chunks_per_stage, job.param.tied ? "_tied" : "");
    });

TEST_P(PlanMessages, ArriveInTime) {
    if (control() == nullptr) GTEST_SKIP() << "runs with the stand-in preloaded";
    control()->delay(smp::testing::seed(), 100);
    const partition::Plan plan = partition::testing::plan_of(GetParam());
    const auto edges = partition::edges_of({&plan.training, &plan.evaluation, &plan.sampling});
    smp::testing::on_local_ranks(GetParam().stages, [&](comms::Communicator& bootstrap) {
        const auto world =
            comms::NcclGroups(bootstrap, bootstrap.rank()).make(bootstrap.split(0, bootstrap.rank(), bootstrap.name()));
        const runtime::RankGroups groups = runtime::make_groups(plan, *world);
        for (const auto* programs : {&plan.training, &plan.evaluation, &plan.training}) {
            const partition::RankProgram& program = (*programs)[groups.at.stage()];
            Messages messages(edges, program, groups);
            runtime::issue(program, messages, *world->in_flight());
            const auto receives = std::ranges::count(program.actions, ActionKind::receive, &Action::kind);
            EXPECT_EQ(messages.received(), receives);
        }
    });
}

}  // namespace
}  // namespace smp::standin
