#include "runtime/checkpoint/state_hash.h"

#include <cstdint>
#include <span>

#include "runtime/files/sum128.h"

namespace smp::runtime {

std::string state_hash(Checkpoint& checkpoint) {
    Sum128 sum;
    for (const StateKind kind : {StateKind::weight, StateKind::first_moment, StateKind::second_moment}) {
        for (const auto& [tensor, shape] : checkpoint.manifest().tensors)
            checkpoint.read_all(tensor, kind, 0, elements_of(shape),
                                [&](std::span<const float> values) { sum.update(std::as_bytes(values)); });
    }
    return sum.take();
}

}  // namespace smp::runtime
