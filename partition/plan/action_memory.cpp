#include "partition/plan/action_memory.h"

#include <algorithm>

namespace smp::partition {
namespace {

const PassMemory& pass_of(const ModuleMemory& memory, ActionKind kind, bool training) {
    switch (kind) {
        case ActionKind::backward: return memory.backward;
        case ActionKind::backward_input: return memory.backward_input;
        case ActionKind::backward_weight: return memory.backward_weight;
        default: return training ? memory.forward : memory.evaluation;
    }
}

}  // namespace

ActionMemory memory_of(const ModuleGraph& graph, const Part& part, ActionKind kind, bool training, bool keeps) {
    const bool is_forward = kind == ActionKind::forward || kind == ActionKind::recompute;
    const int count = part.end_module - part.first_module;
    ActionMemory memory;
    std::int64_t live = 0;  // beyond what was there when the action began
    for (int i = 0; i < count; ++i) {
        const int index = is_forward ? part.first_module + i : part.end_module - 1 - i;
        const Module& module = graph.modules[static_cast<std::size_t>(index)];
        const std::int64_t before = index > 0 ? graph.modules[static_cast<std::size_t>(index - 1)].output_bytes : 0;
        const PassMemory& pass = pass_of(module.memory, kind, training);
        const std::int64_t given = kind == ActionKind::backward_weight ? 0 : is_forward ? before : module.output_bytes;
        const bool is_own = i > 0;  // the pass before has made it
        memory.scratch = std::max(memory.scratch, pass.scratch + (is_own ? given : 0));
        memory.growth = std::max(memory.growth, live + pass.growth);
        live += pass.left;
        if (is_forward) {
            if (!keeps) live -= (is_own ? given : 0) + (training ? module.stash_bytes : 0);
        } else if (kind != ActionKind::backward_weight) {
            // Its input, which was the last pass's to need; and the gradient, unless it is kept for the weight part.
            if (index > part.first_module) live -= before;
            const std::int64_t kept = kind == ActionKind::backward_input
                                          ? module.deferred_bytes - module.stash_bytes + before - pass.left
                                          : 0;
            live -= std::max<std::int64_t>(given - kept, 0);
        }
    }
    return memory;
}

}  // namespace smp::partition
