#include "comms/collectives/reduction_pieces.h"

#include <ATen/ops/empty.h>

namespace smp::comms {

ReductionPieces pieces_of_reduction(const ReduceRequest& request, int ranks, int rank, std::int64_t short_bytes) {
    const at::Tensor &input = request.input, &output = request.output;
    const bool everywhere = request.result == ReduceRequest::Result::everywhere;
    ReductionPieces made{
        .all_at_once =
            everywhere && (ranks == 2 || static_cast<std::int64_t>(input.nbytes()) * (ranks - 1) <= short_bytes),
        .pieces = {},
        .terms = {},
        .own = {}};
    for (int peer = 0; peer < ranks; ++peer) {
        if (made.all_at_once)
            made.pieces.push_back({0, input.numel()});
        else if (everywhere)
            made.pieces.push_back(piece_of(input.numel(), ranks, peer));
        else
            made.pieces.push_back({peer * output.numel(), (peer + 1) * output.numel()});
    }
    at::Tensor scratch = request.scratch;
    const std::int64_t piece_bytes = made.pieces[rank].numel() * static_cast<std::int64_t>(input.element_size());
    if (!scratch.defined() || scratch.numel() < (ranks - 1) * piece_bytes)
        scratch = at::empty({(ranks - 1) * piece_bytes}, input.options().dtype(at::kByte));
    for (int peer = 0, others = 0; peer < ranks; ++peer)
        made.terms.push_back(peer == rank
                                 ? view_of(input, made.pieces[rank])
                                 : scratch.narrow(0, others++ * piece_bytes, piece_bytes).view(input.scalar_type()));
    made.own = everywhere ? made.terms[rank] : output.view({-1});
    return made;
}

}  // namespace smp::comms
