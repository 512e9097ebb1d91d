// How near the simulator comes to what is measured, when it is given the times that the actions took (or, for links and
// copies, their modelled ones): the plan is executed as it is simulated. Waits that the plan does not know of, or a
// message that moves only when somebody waits for it, would show. Wants idle processors, one a rank: 4 in the first
// rows.
//
//     ninja smp_simulated_step_benchmark && bin/smp_simulated_step_benchmark
#include <algorithm>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "comms/backends/delayed.h"
#include "partition/foresight/measured_durations.h"
#include "partition/foresight/simulator.h"
#include "tests/runtime/small_training_job.h"
#include "tests/runtime/traced_run.h"

namespace smp::runtime {
namespace {

using partition::PipelineSchedule;
using testing::ScratchFolder;

void whole_steps() {
    const ScratchFolder folder;
    struct Case {
        const char* name;
        PipelineSchedule schedule;
        int chunks;
    };
    for (const Case& c :
         {Case{"1F1B", PipelineSchedule::interleaved, 1}, Case{"2 chunks a stage", PipelineSchedule::interleaved, 2},
          Case{"zero bubble", PipelineSchedule::zero_bubble, 1}}) {
        Job job = testing::small_training_job(folder);
        testing::change_model(job, [](auto& model) {
            model.n_layer = 8;
            model.n_embd = 128;
            model.n_positions = 64;
        });
        job.training.sequence_length = 64;
        job.training.global_batch_size = 32;
        job.parallel.microbatches = 8;
        job.parallel.pipeline_parallel_degree = 4;
        job.parallel.virtual_pipeline_degree = c.chunks;
        job.parallel.pipeline = c.schedule;
        const testing::TracedRun traced = testing::traced_run(job, comms::local_world(4), /*steps=*/5);
        for (const partition::StepTimes& times : traced.steps) {
            const auto simulated =
                partition::simulate(traced.plan.training, partition::measured_durations(traced.plan, times)).makespan;
            const auto measured = partition::measured_nanoseconds(traced.plan, times);
            fmt::print("{}: {:.1f} ms measured, {:.1f} ms simulated ({:+.2f} %); {}\n", c.name,
                       1e-6 * static_cast<double>(measured), 1e-6 * static_cast<double>(simulated),
                       100 * (static_cast<double>(simulated) / static_cast<double>(measured) - 1),
                       partition::comparison(traced.plan, traced.graph, times));
        }
    }
}

/// Two thirds of a second of work for a rank of one thread, in six microbatches of eight layers.
Job overlapping_job(const ScratchFolder& folder) {
    Job job = testing::small_training_job(folder);
    testing::change_model(job, [](auto& model) {
        model.n_layer = 8;
        model.n_embd = 128;
        model.n_positions = 64;
    });
    job.training.sequence_length = 64;
    job.training.global_batch_size = 48;
    job.parallel.microbatches = 6;
    return job;
}

/// How long rank 0's compute stood still for what it waited for, in nanoseconds.
std::int64_t exposed(const testing::TracedRun& traced, const partition::StepTimes& times,
                     partition::ActionKind but_for) {
    std::int64_t sum = 0;
    const auto& actions = traced.plan.training.front().actions;
    for (const partition::ActionId i : actions.ids())
        if (actions[i].stream == partition::Stream::compute && actions[i].kind != but_for)
            sum += times.ranks[0][i].start - times.ranks[0][i].reached;
    return sum;
}

/// Reductions of the chunks whose gradients are complete run under the backward of the others; what is left is what the
/// simulator says.
void reductions_over_a_slow_link() {
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
        const testing::TracedRun traced = testing::traced_run(job, std::move(worlds), /*steps=*/5);
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
        }
    }
}

/// Copies to and from host memory that the simulator finds under compute are there.
void copies_to_host_memory() {
    const ScratchFolder folder;
    Job job = overlapping_job(folder);
    job.parallel.pipeline = PipelineSchedule::simple;
    job.parallel.active_microbatches = job.parallel.microbatches;
    job.parallel.activation_checkpointing = "each";
    job.parallel.offload_activations = true;
    // A copy of one input takes a quarter of the layer's forward.
    const auto forward_seconds = [](const testing::TracedRun& traced) {
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
    const double rate = input_bytes / (forward_seconds(testing::traced_run(job, comms::local_world(1), 2)) / 4);
    const testing::TracedRun traced =
        testing::traced_run(job, comms::local_world(1), 4,
                            {.plan = {}, .executor = {.before_action = {}, .copies = {.bytes_per_second = rate}}});
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
        const auto simulated = partition::simulate(traced.plan.training, durations);
        const auto step = static_cast<double>(partition::measured_nanoseconds(traced.plan, times));
        const auto measured = exposed(traced, times, partition::ActionKind::optimizer_step);
        fmt::print("{} copies: {:.2f} % of the step exposed, {:.2f} % simulated\n", copies,
                   1e2 * static_cast<double>(measured) / step,
                   1e2 * static_cast<double>(simulated.stages.front().exposed) / step);
    }
}

}  // namespace
}  // namespace smp::runtime

int main() {
    smp::runtime::whole_steps();
    smp::runtime::reductions_over_a_slow_link();
    smp::runtime::copies_to_host_memory();
}
