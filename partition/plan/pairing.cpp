#include "partition/plan/pairing.h"

#include <algorithm>

namespace smp::partition {

std::map<Edge, EdgeMessages> messages_by_edge(const Programs& programs) {
    std::map<Edge, EdgeMessages> messages;
    for (const StageId stage : programs.ids()) {
        for (const ActionId i : programs[stage].actions.ids()) {
            const Action& action = programs[stage].actions[i];
            if (!facts_of(action.kind).is_message()) continue;
            EdgeMessages& of_edge = messages[edge_of(stage, action)];
            (action.kind == ActionKind::send ? of_edge.sends : of_edge.receives).push_back({stage, i});
        }
    }
    return messages;
}

std::vector<MessageEnds> message_ends(const Programs& programs) {
    std::vector<MessageEnds> ends;
    for (const auto& [edge, messages] : messages_by_edge(programs)) {
        const std::size_t met = std::min(messages.sends.size(), messages.receives.size());
        for (std::size_t n = 0; n < met; ++n) ends.push_back({messages.sends[n], messages.receives[n]});
    }
    return ends;
}

}  // namespace smp::partition
