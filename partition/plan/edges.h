// What messages travel on: directed edges of a pipeline. Each is a communicator of two ranks of its own, since a
// backend may run the operations of a communicator one after another (NCCL does, whatever their streams): on an edge,
// and on no larger communicator, their order is the same on both sides.
#pragma once

#include <compare>
#include <initializer_list>
#include <string>
#include <vector>

#include "partition/plan/action.h"

namespace smp::partition {

/// What one stage hands another on one channel. Where chunks make a stage send both to the next one and, around the
/// end, to an earlier one, these are two.
struct Edge {
    Channel channel = Channel::none;
    StageId from = {}, to = {};

    auto operator<=>(const Edge&) const = default;
};

/// "activations 0 -> 1".
std::string name_of(const Edge& edge);

/// That of a send or receive of `stage`.
Edge edge_of(StageId stage, const Action& message);

/// Those that the programs use, each once, in ascending order: the order in which all ranks make them.
std::vector<Edge> edges_of(std::initializer_list<const Programs*> programs);

/// The edges in rounds: those of one round have no stage in common, so that one collective splits all of them off.
/// Ascending within each.
std::vector<std::vector<Edge>> disjoint_rounds(const std::vector<Edge>& edges);

}  // namespace smp::partition
