#include "partition/plan/edges.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace smp::partition {

std::string name_of(const Edge& edge) { return fmt::format("{} {} -> {}", word_of(edge.channel), edge.from, edge.to); }

Edge edge_of(StageId stage, const Action& message) {
    const bool is_send = message.kind == ActionKind::send;
    return {message.channel, is_send ? stage : message.peer, is_send ? message.peer : stage};
}

std::vector<Edge> edges_of(std::initializer_list<const Programs*> programs) {
    std::set<Edge> edges;
    for (const Programs* of_kind : programs) {
        for (const StageId stage : of_kind->ids()) {
            for (const Action& action : (*of_kind)[stage].actions) {
                if (facts_of(action.kind).is_message()) edges.insert(edge_of(stage, action));
            }
        }
    }
    return {edges.begin(), edges.end()};
}

std::vector<std::vector<Edge>> disjoint_rounds(const std::vector<Edge>& edges) {
    std::vector<std::vector<Edge>> rounds;
    for (const Edge& edge : edges) {
        const auto meets = [&](const Edge& other) {
            return other.from == edge.from || other.from == edge.to || other.to == edge.from || other.to == edge.to;
        };
        const auto room = std::find_if(rounds.begin(), rounds.end(), [&](const std::vector<Edge>& round) {
            return std::none_of(round.begin(), round.end(), meets);
        });
        if (room == rounds.end())
            rounds.push_back({edge});
        else
            room->push_back(edge);
    }
    return rounds;
}

}  // namespace smp::partition
