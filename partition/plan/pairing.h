// Which send meets which receive: the n-th of an edge the n-th. What cannot be seen from one program alone.
#pragma once

#include <map>
#include <vector>

#include "partition/plan/edges.h"

namespace smp::partition {

/// The messages of one edge, as each side posts them. Both lists are equally long in a plan that can be executed.
struct EdgeMessages {
    std::vector<Place> sends, receives;
};
std::map<Edge, EdgeMessages> messages_by_edge(const Programs& programs);

/// Both ends of a message.
struct MessageEnds {
    Place send, receive;
};
/// Those that have both ends, edge by edge, in the order of posting.
std::vector<MessageEnds> message_ends(const Programs& programs);

}  // namespace smp::partition
