#include "runtime/records/measured_trace.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "partition/foresight/measured_durations.h"

namespace smp::runtime {

using partition::Plan;

namespace {

int world_of(const Plan& plan) { return plan.topology.degrees.world(); }

}  // namespace

Trace trace_of_ranks(const Plan& plan) {
    Trace trace;
    trace.tracks = action_tracks();
    trace.facts = {{"what", "measured by smp_train"}, {"plan", fmt::format("{:016x}", partition::hash_of(plan))}};
    for (int rank = 0; rank < world_of(plan); ++rank)
        trace.processes.push_back(
            fmt::format("rank {} ({})", rank, partition::to_string(partition::coordinate_of(plan.topology, rank))));
    return trace;
}

void add_step(Trace& trace, const Plan& plan, const partition::StepTimes& times, std::int64_t zero_ns) {
    trace.facts.emplace_back(fmt::format("clock error of step {}", times.step),
                             fmt::format("{} ns at most", times.clock_error));
    // A message is on its way once both sides have posted it.
    auto starts = times.ranks;
    for (int tp = 0; tp < plan.topology.degrees.tp; ++tp) {
        for (int rdp = 0; rdp < plan.topology.degrees.rdp; ++rdp) {
            const auto pipeline = partition::pipeline_of(plan, tp, rdp);
            for (const auto& [send, receive] : partition::message_ends(plan.training)) {
                partition::ActionTime& left = starts[pipeline[send.stage]][send.position];
                partition::ActionTime& arrived = starts[pipeline[receive.stage]][receive.position];
                left.start = arrived.start = std::max(left.start, arrived.start);
            }
        }
    }
    for (int rank = 0; rank < world_of(plan); ++rank) {
        const auto& actions = plan.training[partition::coordinate_of(plan.topology, rank).stage()].actions;
        std::array<std::int64_t, partition::kStreams> copied = {};  // a copy begins when the one before has ended
        for (const partition::ActionId i : actions.ids()) {
            partition::ActionTime time = starts[rank][i];
            if (partition::facts_of(actions[i].kind).is_copy()) {
                std::int64_t& before = copied[static_cast<std::size_t>(actions[i].stream)];
                time.start = std::max(time.start, before);
                before = time.end;
            }
            TraceSpan span = span_of(actions[i]);
            span.process = rank;
            span.step = times.step;
            span.start_ns = time.start - zero_ns;
            span.duration_ns = std::max<std::int64_t>(0, time.end - time.start);  // the clocks' error
            trace.spans.push_back(std::move(span));
        }
    }
}

}  // namespace smp::runtime
