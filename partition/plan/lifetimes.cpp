#include "partition/plan/lifetimes.h"

#include <type_traits>
#include <vector>

namespace smp::partition {

Table<BufferId, Lifetime> lifetimes_of(const RankProgram& program) {
    Table<BufferId, Lifetime> lifetimes(program.buffers.size());
    for (const ActionId position : program.actions.ids()) {
        const Action& action = program.actions[position];
        for_each_field<Action>([&](const auto& field) {  // whatever way of using buffers it lists
            if constexpr (std::is_same_v<decltype(action.*field.member), const std::vector<BufferId>&>) {
                for (const BufferId id : action.*field.member)
                    if (lifetimes.has(id) && lifetimes[id].first == kNone) lifetimes[id].first = position;
            }
        });
        for (const auto* ended : {&action.consumes, &action.frees})
            for (const BufferId id : *ended)
                if (lifetimes.has(id)) lifetimes[id].last = position;
    }
    for (Lifetime& lifetime : lifetimes)
        if (lifetime.last == kNone) lifetime = {};
    return lifetimes;
}

}  // namespace smp::partition
