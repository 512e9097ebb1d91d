#include "partition/foresight/schedule_picture.h"

#include <utility>

#include <fmt/format.h>

namespace smp::partition {

std::string layout_title(const Plan& plan) {
    const Degrees& degrees = plan.topology.degrees;
    const auto chunks = static_cast<int>(plan.chunks.size()) / degrees.pp;
    return fmt::format("{} on {} stage{} x {} tensor x {} data rank{}{}, {} microbatch{}, at most {} active",
                       word_of(plan.schedule), degrees.pp, degrees.pp == 1 ? "" : "s", degrees.tp, degrees.rdp,
                       degrees.rdp == 1 ? "" : "s", chunks == 1 ? "" : fmt::format(", {} chunks a stage", chunks),
                       plan.microbatches, plan.microbatches == 1 ? "" : "es", plan.active_microbatches);
}

TimelinePicture schedule_picture(const Plan& plan, const Timeline& timeline) {
    const int stages = plan.topology.degrees.pp;
    const Placement placement = placement_of(plan.chunks, stages);
    const bool has_chunks = placement.chunks() > placement.stages();
    TimelinePicture picture{.title = layout_title(plan),
                            .lines = {fmt::format("a step takes {}; idle time over work (bubble): {:.1f} %",
                                                  shown_nanoseconds(timeline.makespan), 1e2 * timeline.bubble())},
                            .rows = {},
                            .spans = {},
                            .length = timeline.makespan};
    for (const StageId stage : plan.training.ids()) {
        picture.rows.push_back(fmt::format("stage {}", stage));
        const auto& actions = plan.training[stage].actions;
        for (const ActionId i : actions.ids()) {
            const ActionSpan& run = timeline.spans[stage][i];
            if (run.end == run.start) continue;
            const bool has_letter = has_chunks && actions[i].chunk != kNone;
            PictureSpan span = picture_span(actions[i], has_letter ? placement.own_index(actions[i].chunk) : -1);
            span.row = stage.number();
            span.start = run.start;
            span.end = run.end;
            picture.spans.push_back(std::move(span));
        }
    }
    return picture;
}

}  // namespace smp::partition
