// Reductions made of messages: which piece of the result each rank makes, and where the terms of the own one lie.
#pragma once

#include <cstdint>
#include <vector>

#include "comms/collectives/rank_order_sum.h"
#include "comms/communicator.h"

namespace smp::comms {

struct ReductionPieces {
    bool all_at_once;               // everybody gets everything and makes all of the result
    std::vector<Piece> pieces;      // of the input, by rank
    std::vector<at::Tensor> terms;  // of the own piece, by rank: the own one a view of the input, the others scratch
    at::Tensor own;                 // where the sum of the terms goes
};

/// Of a request whose arguments are checked, in a group of at least two. All at once where the result is wanted
/// everywhere and others' tensors have at most `short_bytes`, or where two ranks exchange them anyway. The scratch
/// memory is the request's or, where that is too short, new: of the current stream, where it is a device's.
ReductionPieces pieces_of_reduction(const ReduceRequest& request, int ranks, int rank, std::int64_t short_bytes);

}  // namespace smp::comms
