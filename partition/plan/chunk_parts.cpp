#include "partition/plan/chunk_parts.h"

#include <algorithm>

namespace smp::partition {

std::vector<Part> parts_of(const Chunk& chunk, bool training) {
    if (!training || chunk.groups.empty())
        return {{.first_module = chunk.first_module, .end_module = chunk.end_module}};
    std::vector<Part> parts;
    for (const GroupId g : chunk.groups.ids())
        parts.push_back({.group = g,
                         .first_module = chunk.groups[g],
                         .end_module = chunk.group_end(g),
                         .is_first = g == GroupId(0),
                         .is_last = g == chunk.groups.last_id()});
    return parts;
}

std::vector<Part> parts_in_order(const Chunk& chunk, bool training, ComputationKind kind) {
    std::vector<Part> parts = parts_of(chunk, training);
    if (kind != ComputationKind::forward) std::reverse(parts.begin(), parts.end());
    return parts;
}

}  // namespace smp::partition
