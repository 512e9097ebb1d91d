// What memory is for: the categories in which plans count it and runs measure it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "partition/job/words.h"
#include "partition/plan/action.h"

namespace smp::partition {

/// What memory is for, in reports. `offloaded` is host memory, all else the device's. Optimizer states have no buffers
/// in a plan, which knows their size from the parameters'.
enum class MemoryCategory {
    parameters,
    gradients,
    activations,  // kept from forward to backward
    checkpoints,  // inputs of groups that are recomputed
    deferred,     // kept from the input to the weight part of a backward
    boundaries,   // tensors between chunks, and gradients between groups
    logits,
    offloaded,
    optimizer,      // moments, and master weights
    communication,  // scratch of reductions of gradients
    other,  // what an action makes while it runs; what it leaves is counted there until the pass that made it ends
};
template <>
struct Words<MemoryCategory> {
    static constexpr std::array<std::string_view, 11> list = {
        "parameters", "gradients", "activations", "checkpoints",   "deferred", "boundaries",
        "logits",     "offloaded", "optimizer",   "communication", "other"};
};
inline constexpr std::size_t kMemoryCategories = Words<MemoryCategory>::list.size();
/// Bytes by category.
using MemoryBytes = std::array<std::int64_t, kMemoryCategories>;

MemoryCategory category_of(const Buffer& buffer);

/// Whether a buffer comes and goes with actions. Flat buffers, and views into them, are there throughout a step.
bool is_passing(const Buffer& buffer);

/// What is there on the device when a computation has ended, ahead of what it frees, beyond what was when it began.
std::int64_t left_bytes(const Table<BufferId, Buffer>& buffers, const Action& action);

}  // namespace smp::partition
