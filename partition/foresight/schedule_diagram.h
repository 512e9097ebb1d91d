// The classic picture of a schedule, as text for a terminal: a row a stage, time to the right.
#pragma once

#include <string>

#include "partition/plan/plan.h"

namespace smp::partition {

struct DiagramSize {
    int columns = 120;  // of the page: what is longer goes on below, like music
    int bands = 24;     // at most so many below each other; a note says what is missing
};

/// The training programs of `plan` as they run where a forward takes one tick, a backward two, its input and weight
/// parts one each, and all else no time: what the order alone is worth. (That of zero_bubble is
/// made for the model's costs: drawn with equal ones it may wait where it does not.) With a legend above and the bubble
/// below.
std::string schedule_diagram(const Plan& plan, const DiagramSize& size = {});

}  // namespace smp::partition
