// When each buffer of a program is there.
#pragma once

#include "partition/job/ids.h"
#include "partition/plan/action.h"

namespace smp::partition {

/// The first action that uses the buffer, and the one that frees or consumes it. None for a buffer that nothing frees,
/// which is there throughout.
struct Lifetime {
    ActionId first = {};
    ActionId last = {};

    bool operator==(const Lifetime&) const = default;
};

/// Of a program that is not well-formed too: what names no buffer is passed over, and of several actions that end one
/// the last counts.
Table<BufferId, Lifetime> lifetimes_of(const RankProgram& program);

}  // namespace smp::partition
