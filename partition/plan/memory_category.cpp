#include "partition/plan/memory_category.h"

#include <stdexcept>

namespace smp::partition {

MemoryCategory category_of(const Buffer& buffer) {
    switch (buffer.kind) {
        case BufferKind::parameters: return MemoryCategory::parameters;
        case BufferKind::gradients:
        case BufferKind::tied_gradient: return MemoryCategory::gradients;
        case BufferKind::stash: return MemoryCategory::activations;
        case BufferKind::logits: return MemoryCategory::logits;
        case BufferKind::checkpoint:
        case BufferKind::prefetched: return MemoryCategory::checkpoints;
        case BufferKind::offloaded: return MemoryCategory::offloaded;
        case BufferKind::deferred: return MemoryCategory::deferred;
        case BufferKind::activation_in:
            return buffer.group == kNone ? MemoryCategory::boundaries : MemoryCategory::checkpoints;
        case BufferKind::activation_out:
        case BufferKind::checkpoint_gradient:
        case BufferKind::gradient_in:
        case BufferKind::gradient_out:
        case BufferKind::tied_received: return MemoryCategory::boundaries;
        case BufferKind::scratch: return MemoryCategory::other;
        case BufferKind::reduction_scratch: return MemoryCategory::communication;
    }
    throw std::logic_error("memory category: no such buffer kind");
}

bool is_passing(const Buffer& buffer) {
    return buffer.kind != BufferKind::parameters && buffer.kind != BufferKind::gradients &&
           buffer.kind != BufferKind::tied_gradient && buffer.kind != BufferKind::reduction_scratch;
}

std::int64_t left_bytes(const Table<BufferId, Buffer>& buffers, const Action& action) {
    std::int64_t bytes = 0;
    for (const BufferId id : action.writes) {
        const Buffer& buffer = buffers[id];
        if (is_passing(buffer) && buffer.kind != BufferKind::logits) bytes += buffer.bytes;
    }
    for (const BufferId id : action.consumes) bytes -= buffers[id].bytes;
    return bytes;
}

}  // namespace smp::partition
