// What ranks measure of a step: on one clock, complete; and that a step waits for nothing but what its plan says.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "comms/progress.h"
#include "runtime/execution/gathered_times.h"
#include "runtime/job/job_plan.h"
#include "runtime/records/trace_file.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"
#include "tests/runtime/traced_run.h"

namespace smp::runtime {
namespace {

using partition::PipelineSchedule;
using testing::on_local_ranks;
using testing::ScratchFolder;
using Json = nlohmann::json;

// Clocks that differ by hours are found out to within the error that is stated, which is that of the quickest answer.
// True time is counted in readings of a clock: one passes with each, 1000 with one in seven.
TEST(TracedStep, ClocksAreAlignedByTheQuickestAnswer) {
    std::atomic<std::int64_t> readings = 0;
    on_local_ranks(4, [&](comms::Communicator& world) {
        const auto skew = [](int rank) { return std::int64_t{rank} * rank * 3'600'000'000'123 - 77; };
        const auto offsets = clock_offsets(world, [&] {
            const std::int64_t reading = ++readings;
            return reading + reading / 7 * 1000 + skew(world.rank());
        });
        ASSERT_EQ(offsets.size(), world.rank() == 0 ? 4U : 0U);
        for (int rank = 1; rank < static_cast<int>(offsets.size()); ++rank) {
            EXPECT_EQ(offsets[rank].ahead, skew(rank) - skew(0)) << "rank " << rank;
            EXPECT_EQ(offsets[rank].error, 1) << "rank " << rank;
        }
    });
}

testing::TracedRun train(const Job& job, int rdp, int steps) {
    const int ranks = job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
    return testing::traced_run(job, comms::local_world(ranks), steps);
}

TEST(TracedStep, EveryActionOfEveryRankIsInTheFileInOrder) {
    const ScratchFolder folder;
    Job job = testing::small_training_job(folder);
    job.parallel.pipeline_parallel_degree = 2;
    const testing::TracedRun traced = train(job, /*rdp=*/2, /*steps=*/3);
    TraceFile file(folder / "trace.json");
    file.started({.job = job, .plan = traced.plan, .graph = traced.graph, .at = {}});
    for (const partition::StepTimes& times : traced.steps) file.traced(times);

    // Tracks by process and name; lanes that overlapping messages are drawn on are one track.
    const Json json = Json::parse(testing::content(folder / "trace.json"));
    std::map<int, std::string> processes;
    std::map<std::pair<int, int>, std::string> threads;
    std::vector<Json> spans;
    for (const Json& event : json["traceEvents"]) {
        if (event["name"] == "process_name") processes[event["pid"]] = event["args"]["name"];
        if (event["name"] == "thread_name") {
            const std::string name = event["args"]["name"];
            threads[{event["pid"], event["tid"]}] = name.substr(0, name.find_last_not_of(" 23456789") + 1);
        }
        if (event["ph"] == "X") spans.push_back(event);
    }
    EXPECT_EQ(processes.size(), 4U);
    EXPECT_EQ(processes[1], "rank 1 (pp 1, tp 0, rdp 0)");
    EXPECT_EQ(processes[2], "rank 2 (pp 0, tp 0, rdp 1)");
    std::stable_sort(spans.begin(), spans.end(),
                     [](const Json& a, const Json& b) { return a["ts"].get<double>() < b["ts"].get<double>(); });
    std::map<std::pair<int, std::string>, std::vector<std::string>> found, expected;
    for (const Json& span : spans)
        found[{span["pid"], threads.at({span["pid"], span["tid"]})}].push_back(
            fmt::format("step {}: {}", span["args"]["step"].get<int>(), span["name"].get<std::string>()));
    for (const partition::StepTimes& times : traced.steps) {
        for (int rank = 0; rank < 4; ++rank) {
            const partition::StageId stage = partition::coordinate_of(traced.plan.topology, rank).stage();
            for (const auto& action : traced.plan.training[stage].actions)
                expected[{rank, action_tracks()[span_of(action).track]}].push_back(
                    fmt::format("step {}: {}", times.step, partition::name_of(action)));
        }
    }
    EXPECT_EQ(found, expected);
}

TEST(TracedStep, TimesAreInTheOrderOfWhatHappened) {
    const ScratchFolder folder;
    Job job = testing::small_training_job(folder);
    job.parallel.pipeline_parallel_degree = 2;
    const testing::TracedRun traced = train(job, /*rdp=*/2, /*steps=*/3);
    for (const partition::StepTimes& times : traced.steps) {
        ASSERT_EQ(times.ranks.size(), 4U);
        for (int rank = 0; rank < 4; ++rank) {
            const auto at = partition::coordinate_of(traced.plan.topology, rank);
            const auto& program = traced.plan.training[at.stage()];
            const auto& own = times.ranks[rank];
            ASSERT_EQ(own.size(), program.actions.size());
            std::map<partition::EventId, partition::ActionId> signalled;
            for (const partition::ActionId i : own.ids()) {
                const auto& action = program.actions[i];
                EXPECT_LE(own[i].reached, own[i].start) << partition::name_of(action);
                EXPECT_LE(own[i].start, own[i].end) << partition::name_of(action);
                if (i > partition::ActionId(0)) {
                    EXPECT_LE(own[i - 1].start, own[i].reached) << partition::name_of(action);
                }
                for (const partition::EventId event : action.waits)
                    EXPECT_LE(own[signalled.at(event)].end, own[i].start) << partition::name_of(action);
                if (action.signals != partition::kNone) signalled[action.signals] = i;
            }
            // No message arrives before it was sent, as far as the clocks are known.
            if (at.pp != 0) continue;
            const int other = partition::rank_of(traced.plan.topology, {.pp = 1, .tp = at.tp, .rdp = at.rdp});
            for (const partition::ActionId i : own.ids()) {
                const auto& send = program.actions[i];
                if (send.kind != partition::ActionKind::send) continue;
                const auto& actions = traced.plan.training.back().actions;
                const auto receive = std::find_if(actions.begin(), actions.end(), [&](const auto& action) {
                    return action.kind == partition::ActionKind::receive && action.channel == send.channel &&
                           action.microbatch == send.microbatch;
                });
                ASSERT_NE(receive, actions.end());
                EXPECT_GE(times.ranks[other][partition::ActionId(receive - actions.begin())].end,
                          own[i].start - 2 * times.clock_error)
                    << partition::name_of(send);
            }
        }
    }
}

/// Of one rank: which messages its program needs by now, and which it is about to post.
struct Needs {
    std::set<partition::EventId> events;
    partition::EventId posted;
    int received = 0;
};

/// Complete, but not before the program needs it.
class LateOperation final : public comms::Operation {
  public:
    LateOperation(comms::Progress& progress, comms::Work work, Needs& needs)
        : progress_(progress), operation_(work.release()), needs_(needs), event_(needs.posted) {}
    bool advance() override {
        if (operation_ && progress_.step(*operation_)) operation_.reset();
        return !operation_ && needs_.events.contains(event_);
    }
    std::string describe() const override { return "a message that is not needed yet"; }

  private:
    comms::Progress& progress_;  // owns this
    std::shared_ptr<comms::Operation> operation_;
    Needs& needs_;
    const partition::EventId event_;
};

/// A group whose messages arrive at the last moment.
class LateMessages final : public comms::Communicator {
  public:
    LateMessages(std::unique_ptr<comms::Communicator> group, Needs& needs) : group_(std::move(group)), needs_(needs) {}

    int rank() const override { return group_->rank(); }
    int size() const override { return group_->size(); }
    const std::string& name() const override { return group_->name(); }
    bool reduces_in_place() const override { return group_->reduces_in_place(); }
    int world_rank(int rank) const override { return group_->world_rank(rank); }
    std::unique_ptr<comms::Communicator> split(int color, int key, const std::string& name) override {
        return std::make_unique<LateMessages>(group_->split(color, key, name), needs_);
    }
    comms::Work send(const at::Tensor& tensor, int peer) override { return group_->send(tensor, peer); }
    comms::Work receive(at::Tensor tensor, int peer) override {
        comms::Work work = group_->receive(std::move(tensor), peer);
        if (needs_.posted == partition::kNone) return work;
        ++needs_.received;
        comms::Progress& progress = *in_flight();
        return progress.begin(std::make_shared<LateOperation>(progress, std::move(work), needs_));
    }
    comms::Work all_gather(at::Tensor output, const at::Tensor& input) override {
        return group_->all_gather(std::move(output), input);
    }
    comms::Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        return group_->all_to_all(std::move(output), input);
    }
    comms::Work broadcast(at::Tensor tensor, int root) override { return group_->broadcast(std::move(tensor), root); }
    comms::Work reduce(const comms::ReduceRequest& request) override { return group_->reduce(request); }
    void barrier() override { group_->barrier(); }
    void progress() override { group_->progress(); }
    void abort(const std::string& reason, int exit_code) noexcept override { group_->abort(reason, exit_code); }
    const std::shared_ptr<comms::Progress>& in_flight() const override { return group_->in_flight(); }

  private:
    std::unique_ptr<comms::Communicator> group_;
    Needs& needs_;
};

// Every message is under way until the action that the plan lets wait for it. A wait that the plan does not know of, a
// message waited for when it is posted, would not end. How near the times of such steps are to those that the simulator
// gives is measured by tests/benchmarks/simulated_step_benchmark.cpp.
TEST(TracedStep, NothingIsWaitedForBeforeThePlanSays) {
    const ScratchFolder folder;
    struct Case {
        PipelineSchedule schedule;
        int chunks;
    };
    for (const Case& c : {Case{PipelineSchedule::interleaved, 1}, Case{PipelineSchedule::interleaved, 2},
                          Case{PipelineSchedule::zero_bubble, 1}}) {
        Job job = testing::small_training_job(folder);
        testing::change_model(job, [](auto& model) { model.n_layer = 8; });
        job.training.global_batch_size = 8;
        job.parallel.microbatches = 8;
        job.parallel.pipeline_parallel_degree = 4;
        job.parallel.virtual_pipeline_degree = c.chunks;
        job.parallel.pipeline = c.schedule;
        testing::on_local_ranks(4, [&](comms::Communicator& world) {
            Needs needs;
            const auto before = [&](const partition::Action& action) {
                needs.events.insert(action.waits.begin(), action.waits.end());
                needs.posted = action.kind == partition::ActionKind::receive ? action.signals : partition::kNone;
            };
            LateMessages late(world.split(0, world.rank(), "late"), needs);
            Trainer trainer(job, late, {.plan = {}, .executor = {.before_action = before, .copies = {}}});
            trainer.step();
            const auto& actions = trainer.plan().training[trainer.coordinate().stage()].actions;
            EXPECT_EQ(needs.received, std::count_if(actions.begin(), actions.end(), [](const auto& action) {
                          return action.kind == partition::ActionKind::receive;
                      }));
        });
    }
}

/// Computes, that is, neither moves nor waits.
bool is_compute(const partition::Action& action) {
    return action.stream == partition::Stream::compute && action.kind != partition::ActionKind::join;
}

// The other replica joins the first reduction only after this one has gone on computing: a reduction that held compute
// up would not end.
TEST(TracedStep, ReductionsRunUnderCompute) {
    const ScratchFolder folder;
    for (const bool sharded : {false, true}) {
        Job job = testing::small_training_job(folder);
        testing::change_model(job, [](auto& model) { model.n_layer = 8; });
        job.parallel.microbatches = 2;
        job.training.global_batch_size = 4;
        job.parallel.virtual_pipeline_degree = 4;
        job.parallel.shard_optimizer_state = sharded;
        std::promise<void> gone_on;
        auto has_gone_on = gone_on.get_future();
        testing::on_local_ranks(2, [&](comms::Communicator& world) {
            bool reduces = false, is_over = false;
            const auto before = [&](const partition::Action& action) {
                const bool is_reduction = action.kind == partition::ActionKind::reduce_gradients;
                if (is_over) return;
                if (world.rank() == 0 && reduces && is_compute(action)) {
                    is_over = true;
                    gone_on.set_value();
                } else if (world.rank() == 1 && is_reduction) {
                    is_over = true;
                    EXPECT_EQ(has_gone_on.wait_for(std::chrono::minutes(1)), std::future_status::ready);
                }
                reduces = reduces || is_reduction;
            };
            Trainer trainer(job, world, {.plan = {}, .executor = {.before_action = before, .copies = {}}});
            trainer.step();
            EXPECT_TRUE(is_over);
        });
    }
}

// Each copy takes 20 ms at least; compute begins before one of them has ended. (That it does so before most of them is
// a matter of who has the processors.)
TEST(TracedStep, CopiesToHostMemoryRunUnderCompute) {
    const ScratchFolder folder;
    Job job = testing::small_training_job(folder);
    testing::change_model(job, [](auto& model) { model.n_layer = 8; });
    job.parallel.microbatches = 2;
    job.training.global_batch_size = 2;
    job.parallel.activation_checkpointing = "each";
    job.parallel.offload_activations = true;
    partition::Plan plan = plan_of(job, 1);
    const auto& actions = plan.training.front().actions;
    const auto is_offload = [](const auto& action) { return action.kind == partition::ActionKind::offload; };
    const auto first = std::find_if(actions.begin(), actions.end(), is_offload);
    ASSERT_NE(first, actions.end());
    const double rate = static_cast<double>(first->bytes) / 20e-3;
    const testing::TracedRun traced =
        testing::traced_run(job, comms::local_world(1), 2,
                            {.plan = {}, .executor = {.before_action = {}, .copies = {.bytes_per_second = rate}}});
    int overlapped = 0, offloads = 0;
    const auto& times = traced.steps.front().ranks.front();
    for (const partition::ActionId i : times.ids()) {
        if (!is_offload(actions[i])) continue;
        ++offloads;
        for (partition::ActionId next = i + 1; next.index() < actions.size(); next = next + 1) {
            if (!is_compute(actions[next])) continue;
            overlapped += times[next].start < times[i].end ? 1 : 0;
            break;
        }
    }
    EXPECT_GE(offloads, 8);
    EXPECT_GT(overlapped, 0);
}

}  // namespace
}  // namespace smp::runtime
