#include "partition/plan/offloading.h"

namespace smp::partition {

Offloading choose_offloads(const Chunks& chunks, std::span<const Computation> computations, int horizon) {
    Offloading chosen;
    std::map<InputKey, int> forwards;
    int task = 0;
    for (const Computation& computation : computations) {
        for (const Part& part : parts_in_order(chunks[computation.chunk], true, computation.kind)) {
            const InputKey key(computation.microbatch, computation.chunk, part.group);
            const bool has_input = !part.is_first || (part.group != kNone && computation.chunk > ChunkId(0));
            if (computation.kind == ComputationKind::forward) {
                forwards[key] = task;
            } else if (computation.kind != ComputationKind::backward_weight && has_input &&
                       task - forwards.at(key) - 1 > horizon) {
                chosen.leaving.insert(key);
                chosen.fetched_before[task - horizon].emplace_back(computation, part);
            }
            ++task;
        }
    }
    return chosen;
}

}  // namespace smp::partition
