// What ranks measure of a step: on one clock, complete, and such that the simulator gives the step again.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "comms/backends/delayed.h"
#include "partition/foresight/measured_durations.h"
#include "partition/foresight/simulator.h"
#include "runtime/execution/gathered_times.h"
#include "runtime/records/trace_file.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"

namespace smp::runtime {
namespace {

using partition::PipelineSchedule;
using testing::on_local_ranks;
using testing::ScratchFolder;
using Json = nlohmann::json;

// Clocks that differ by hours are found out to within the error that is stated.
TEST(TracedStep, ClocksAreAlignedWithinTheStatedError) {
    on_local_ranks(4, [](comms::Communicator& world) {
        const auto skew = [](int rank) { return std::int64_t{rank} * rank * 3'600'000'000'123 - 77; };
        const auto offsets = clock_offsets(world, [&] { return steady_nanoseconds() + skew(world.rank()); });
        ASSERT_EQ(offsets.size(), world.rank() == 0 ? 4U : 0U);
        for (int rank = 0; rank < static_cast<int>(offsets.size()); ++rank) {
            EXPECT_LE(std::abs(offsets[rank].ahead - (skew(rank) - skew(0))), offsets[rank].error) << "rank " << rank;
            EXPECT_LT(offsets[rank].error, 1'000'000'000);
        }
    });
}

struct Traced {
    partition::Plan plan;
    partition::ModuleGraph graph;
    std::vector<partition::StepTimes> steps;
};

/// Trains `steps` steps and keeps the times of all but the first.
Traced train(const Job& job, std::vector<std::unique_ptr<comms::Communicator>> worlds, int steps,
             const TrainerOptions& options = {}) {
    Traced traced;
    testing::on_ranks(std::move(worlds), [&](comms::Communicator& world) {
        Trainer trainer(job, world, options);
        trainer.step();
        for (int step = 1; step < steps; ++step) {
            partition::StepTimes times;
            trainer.step(times);
            EXPECT_EQ(times.step, step + 1);
            EXPECT_EQ(times.ranks.size(), world.rank() == 0 ? world.size() : 0);
            if (world.rank() == 0) traced.steps.push_back(times);
        }
        if (world.rank() == 0) {
            traced.plan = trainer.plan();
            traced.graph = trainer.graph();
        }
    });
    return traced;
}

Traced train(const Job& job, int rdp, int steps) {
    const int ranks = job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
    return train(job, comms::local_world(ranks), steps);
}

TEST(TracedStep, EveryActionOfEveryRankIsInTheFileInOrder) {
    const ScratchFolder folder;
    Job job = testing::small_training_job(folder);
    job.parallel.pipeline_parallel_degree = 2;
    const Traced traced = train(job, /*rdp=*/2, /*steps=*/3);
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
    const Traced traced = train(job, /*rdp=*/2, /*steps=*/3);
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

/// Two thirds of a second of work for a rank of one thread, in six microbatches of eight layers.
Job overlapping_job(const ScratchFolder& folder) {
    Job job = testing::small_training_job(folder);
    testing::change_model(job, [&](auto& model) {
        model.n_layer = 8;
        model.n_embd = 128;
        model.n_positions = 64;
    });
    job.training.sequence_length = 64;
    job.training.global_batch_size = 48;
    job.parallel.microbatches = 6;
    return job;
}

// The plan was executed as it is simulated: with the times that its actions took, the simulator gives the step that was
// measured. Waits that the plan does not know of, another order, or a message that moves only when somebody waits for
// it would show.
TEST(TracedStep, SimulatedFromItsOwnTimesItTakesAsLong) {
    const ScratchFolder folder;
    struct Case {
        const char* name;
        PipelineSchedule schedule;
        int chunks;
    };
    for (const Case& c :
         {Case{"1F1B", PipelineSchedule::interleaved, 1}, Case{"2 chunks a stage", PipelineSchedule::interleaved, 2},
          Case{"zero bubble", PipelineSchedule::zero_bubble, 1}}) {
        Job job = overlapping_job(folder);
        job.training.global_batch_size = 32;
        job.parallel.microbatches = 8;
        job.parallel.pipeline_parallel_degree = 4;
        job.parallel.virtual_pipeline_degree = c.chunks;
        job.parallel.pipeline = c.schedule;
        const Traced traced = train(job, /*rdp=*/1, /*steps=*/5);
        for (const partition::StepTimes& times : traced.steps) {
            const auto simulated =
                partition::simulate(traced.plan.training, partition::measured_durations(traced.plan, times)).makespan;
            const auto measured = partition::measured_nanoseconds(traced.plan, times);
            fmt::print("{}: {:.1f} ms measured, {:.1f} ms simulated ({:+.2f} %); {}\n", c.name,
                       1e-6 * static_cast<double>(measured), 1e-6 * static_cast<double>(simulated),
                       100 * (static_cast<double>(simulated) / static_cast<double>(measured) - 1),
                       partition::comparison(traced.plan, traced.graph, times));
            EXPECT_NEAR(static_cast<double>(simulated), static_cast<double>(measured),
                        0.05 * static_cast<double>(measured))
                << c.name;
        }
    }
}

/// How long rank 0's compute stood still for what it waited for, in nanoseconds.
std::int64_t exposed(const Traced& traced, const partition::StepTimes& times, partition::ActionKind but_for) {
    std::int64_t sum = 0;
    const auto& actions = traced.plan.training.front().actions;
    for (const partition::ActionId i : actions.ids())
        if (actions[i].stream == partition::Stream::compute && actions[i].kind != but_for)
            sum += times.ranks[0][i].start - times.ranks[0][i].reached;
    return sum;
}

// Reductions of the chunks whose gradients are complete run under the backward of the others; what is left is what the
// simulator says.
TEST(TracedStep, ReductionsOverASlowLinkAreExposedAsSimulated) {
    const ScratchFolder folder;
    for (const bool sharded : {false, true}) {
        Job job = overlapping_job(folder);
        job.training.global_batch_size = 24;
        job.parallel.microbatches = 2;
        job.parallel.virtual_pipeline_degree = 4;
        job.parallel.shard_optimizer_state = sharded;
        constexpr double kRate = 10e6;
        auto worlds = comms::local_world(2);
        for (auto& world : worlds) world = comms::delayed(std::move(world), {.collective_bytes_per_second = kRate});
        const Traced traced = train(job, std::move(worlds), /*steps=*/5);
        double nearest = 1;  // of four steps: other processes may hold a rank up while it waits
        for (const partition::StepTimes& times : traced.steps) {
            auto durations = partition::measured_durations(traced.plan, times);
            const auto& actions = traced.plan.training.front().actions;
            for (const partition::ActionId i : actions.ids()) {
                // Half of the bytes leave each of two ranks to be added up, and half to be gathered.
                const double passes = actions[i].kind == partition::ActionKind::reduce_gradients && !sharded ? 2 : 1;
                if (actions[i].channel == partition::Channel::data)
                    durations.front()[i] = {
                        .duration = std::llround(1e9 * passes * 0.5 * static_cast<double>(actions[i].bytes) / kRate),
                        .latency = 0};
            }
            const auto simulated = partition::simulate(traced.plan.training, durations).stages.front().exposed;
            const auto measured = exposed(traced, times, partition::ActionKind::join);
            fmt::print("{}: {:.1f} ms exposed, {:.1f} ms simulated\n", sharded ? "sharded" : "whole",
                       1e-6 * static_cast<double>(measured), 1e-6 * static_cast<double>(simulated));
            nearest = std::min(nearest, std::abs(static_cast<double>(measured) / static_cast<double>(simulated) - 1));
        }
        EXPECT_LE(nearest, 0.1);
    }
}

// Copies to and from host memory that the simulator finds under compute are there.
TEST(TracedStep, CopiesToHostMemoryRunUnderCompute) {
    const ScratchFolder folder;
    Job job = overlapping_job(folder);
    job.parallel.pipeline = PipelineSchedule::simple;
    job.parallel.active_microbatches = job.parallel.microbatches;
    job.parallel.activation_checkpointing = "each";
    job.parallel.offload_activations = true;
    // A copy of one input takes a quarter of the layer's forward.
    const auto forward_seconds = [](const Traced& traced) {
        std::vector<std::int64_t> durations;
        const auto& actions = traced.plan.training.front().actions;
        for (const partition::ActionId i : actions.ids())
            if (actions[i].kind == partition::ActionKind::forward && actions[i].group > partition::GroupId(0) &&
                actions[i].group < partition::GroupId(8))
                durations.push_back(traced.steps[0].ranks[0][i].end - traced.steps[0].ranks[0][i].start);
        std::nth_element(durations.begin(), durations.begin() + durations.size() / 2, durations.end());
        return 1e-9 * static_cast<double>(durations[durations.size() / 2]);
    };
    const double input_bytes = 4.0 * 8 * 64 * 128;
    const double rate = input_bytes / (forward_seconds(train(job, comms::local_world(1), 2)) / 4);
    const Traced traced = train(job, comms::local_world(1), 4,
                                {.plan = {}, .executor = {.before_action = {}, .copies = {.bytes_per_second = rate}}});
    double least = 1;  // of three steps: another process may have taken the copying threads' processor
    for (const partition::StepTimes& times : traced.steps) {
        auto durations = partition::measured_durations(traced.plan, times);
        int copies = 0;
        const auto& actions = traced.plan.training.front().actions;
        for (const partition::ActionId i : actions.ids()) {
            const bool copies_out = actions[i].stream == partition::Stream::copy_out;
            if (!copies_out && actions[i].stream != partition::Stream::copy_in) continue;
            ++copies;
            durations.front()[i] = {.duration = std::llround(1e9 * static_cast<double>(actions[i].bytes) / rate),
                                    .latency = 0};
        }
        EXPECT_GT(copies, 60);  // 6 microbatches of 8 inputs, but for the last, out and in
        const auto simulated = partition::simulate(traced.plan.training, durations);
        const auto step = static_cast<double>(partition::measured_nanoseconds(traced.plan, times));
        ASSERT_LE(simulated.stages.front().exposed, 0.001 * step);
        const auto measured = exposed(traced, times, partition::ActionKind::optimizer_step);
        fmt::print("{} copies: {:.2f} % of the step exposed\n", copies, 1e2 * static_cast<double>(measured) / step);
        least = std::min(least, static_cast<double>(measured) / step);
    }
    EXPECT_LE(least, 0.02);
}

}  // namespace
}  // namespace smp::runtime
