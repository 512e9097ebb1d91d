// What memory is for: the categories in which plans count it and runs measure it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "partition/job/words.h"
#include "partition/plan/action.h"

namespace smp::partition {

/// What memory is for, in reports. `offloaded` is host memory, all else the device's. A plan knows nothing of the last
/// three, which only a run has.
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
    communication,  // scratch of reductions over tensor and data-parallel ranks that starts with them
    other,          // what an action needs while it runs
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

}  // namespace smp::partition
