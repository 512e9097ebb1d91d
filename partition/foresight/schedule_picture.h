// The classic picture of a schedule, as a plan's step runs against its durations.
#pragma once

#include "partition/foresight/simulator.h"
#include "partition/foresight/timeline_picture.h"
#include "partition/plan/plan.h"

namespace smp::partition {

/// A row a stage, titled with the layout; the line below says how long the step is and how much of it is bubble.
/// `timeline` is that of the plan's training, in nanoseconds.
TimelinePicture schedule_picture(const Plan& plan, const Timeline& timeline);

/// "interleaved on 4 stages x 2 tensor x 1 data ranks, 8 microbatches, at most 6 active".
std::string layout_title(const Plan& plan);

}  // namespace smp::partition
