#include "partition/foresight/live_bytes.h"

#include <algorithm>
#include <stdexcept>

namespace smp::partition {
namespace {

struct Change {
    std::int64_t tick = 0;
    MemoryCategory category = MemoryCategory::parameters;
    std::int64_t bytes = 0;
};

bool is_lasting(const Buffer& buffer) {
    return buffer.kind == BufferKind::parameters || buffer.kind == BufferKind::gradients;
}

/// A gradient of a shared parameter that is no view into `gradients`: that of any copy on the stage but the first.
bool is_second_copy(const RankProgram& program, const Buffer& buffer) {
    return buffer.kind == BufferKind::tied_gradient &&
           std::any_of(program.buffers.begin(), program.buffers.end(), [&](const Buffer& other) {
               return other.kind == BufferKind::tied_gradient && other.shared == buffer.shared &&
                      other.module < buffer.module;
           });
}

}  // namespace

std::vector<MemoryPoint> live_bytes(const RankProgram& program, const Table<ActionId, ActionSpan>& spans) {
    std::vector<Change> changes;
    const auto change = [&](std::int64_t tick, BufferId id, int sign) {
        const Buffer& buffer = program.buffers[id];
        if (is_lasting(buffer) || buffer.kind == BufferKind::tied_gradient) return;
        changes.push_back({tick, category_of(buffer), sign * buffer.bytes});
    };
    for (const ActionId i : program.actions.ids()) {
        const Action& action = program.actions[i];
        for (const BufferId id : action.writes)
            change(action.stream != Stream::compute ? spans[i].posted : spans[i].start, id, 1);
        for (const BufferId id : action.frees) change(spans[i].end, id, -1);
    }
    std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.tick < b.tick; });

    std::vector<MemoryPoint> points(1);
    for (const Buffer& buffer : program.buffers) {
        if (is_lasting(buffer) || is_second_copy(program, buffer))
            points[0].bytes[static_cast<std::size_t>(category_of(buffer))] += buffer.bytes;
    }
    for (const Change& c : changes) {
        if (c.tick > points.back().tick) points.push_back({c.tick, points.back().bytes});
        points.back().bytes[static_cast<std::size_t>(c.category)] += c.bytes;
    }
    // What came and went at one tick may have changed nothing.
    const auto same = [](const MemoryPoint& a, const MemoryPoint& b) { return a.bytes == b.bytes; };
    points.erase(std::unique(points.begin(), points.end(), same), points.end());
    return points;
}

}  // namespace smp::partition
