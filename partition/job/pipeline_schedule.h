// The pipeline schedules by name, and what is always true of each: one row a schedule. Their orders are
// partition/schedule/schedule.cpp's.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "partition/job/words.h"

namespace smp::partition {

enum class PipelineSchedule { simple, interleaved, zero_bubble };

struct ScheduleFacts {
    PipelineSchedule schedule;
    std::string_view word;     // in configurations
    std::string_view meaning;  // for people
    bool takes_chunks;         // more than one a stage
    bool holds_all;            // every microbatch of a step is active at once
    /// Backwards come in two parts, and what is held for them is bounded in bytes, so that the order depends on costs.
    bool splits_backward;
};

// clang-format off
inline constexpr auto kScheduleFacts = std::to_array<ScheduleFacts>({
    {PipelineSchedule::simple,      "simple",      "all forwards, then all backwards",             false, true,  false},
    {PipelineSchedule::interleaved, "interleaved", "backward first",                               true,  false, false},
    {PipelineSchedule::zero_bubble, "zero_bubble", "backward first, weight gradients in the gaps", false, false, true},
});
// clang-format on

constexpr const ScheduleFacts& facts_of(PipelineSchedule schedule) {
    return kScheduleFacts.at(static_cast<std::size_t>(schedule));
}

template <>
struct Words<PipelineSchedule> {
    static constexpr auto list = [] {
        std::array<std::string_view, kScheduleFacts.size()> words;
        for (const ScheduleFacts& facts : kScheduleFacts)
            words.at(static_cast<std::size_t>(facts.schedule)) = facts.word;
        return words;
    }();
};

static_assert(
    [] {
        for (std::size_t i = 0; i < kScheduleFacts.size(); ++i)
            if (kScheduleFacts[i].schedule != static_cast<PipelineSchedule>(i)) return false;
        return kScheduleFacts.back().schedule == PipelineSchedule::zero_bubble;
    }(),
    "a row for each schedule, in their order");

}  // namespace smp::partition
