#include <utility>

#include "comms/collectives/arguments.h"

namespace smp::comms {

Work all_reduce(Communicator& group, at::Tensor tensor, Reduction reduction, at::Tensor scratch) {
    const ReduceRequest request{ReduceRequest::Result::everywhere, reduction, tensor, std::move(tensor),
                                std::move(scratch)};
    check_reduce(group, request);
    if (group.size() == 1 || request.input.numel() == 0) return {};
    return group.reduce(request);
}

Work reduce_scatter(Communicator& group, at::Tensor output, const at::Tensor& input, Reduction reduction,
                    at::Tensor scratch) {
    const ReduceRequest request{ReduceRequest::Result::scattered, reduction, std::move(output), input,
                                std::move(scratch)};
    check_reduce(group, request);
    if (request.output.numel() == 0) return {};
    if (group.size() > 1) return group.reduce(request);
    if (request.output.const_data_ptr() != input.const_data_ptr()) request.output.view({-1}).copy_(input.view({-1}));
    return {};
}

}  // namespace smp::comms
