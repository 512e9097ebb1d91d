#include "partition/plan/action_use.h"

#include <algorithm>

namespace smp::partition {
namespace {

const PassUse& pass_of(const ModulePasses& passes, ActionKind kind, bool training) {
    switch (kind) {
        case ActionKind::backward: return passes.backward;
        case ActionKind::backward_input: return passes.backward_input;
        case ActionKind::backward_weight: return passes.backward_weight;
        default: return training ? passes.forward : passes.evaluation;
    }
}

}  // namespace

ActionUse use_of(const ModuleGraph& graph, const Part& part, ActionKind kind, bool training, bool keeps) {
    const bool is_forward = kind == ActionKind::forward || kind == ActionKind::recompute;
    const int count = part.end_module - part.first_module;
    ActionUse use;
    std::int64_t live = 0;  // beyond what was there when the action began
    for (int i = 0; i < count; ++i) {
        const int index = is_forward ? part.first_module + i : part.end_module - 1 - i;
        const Module& module = graph.modules[static_cast<std::size_t>(index)];
        const std::int64_t before = index > 0 ? graph.modules[static_cast<std::size_t>(index - 1)].output_bytes : 0;
        const PassUse& pass = pass_of(module.passes, kind, training);
        const std::int64_t given = kind == ActionKind::backward_weight ? 0 : is_forward ? before : module.output_bytes;
        const bool is_own = i > 0;  // the pass before has made it
        use.scratch = std::max(use.scratch, pass.scratch + (is_own ? given : 0));
        use.growth = std::max(use.growth, live + pass.growth);
        use.exchange += pass.exchange;
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
    return use;
}

}  // namespace smp::partition
