// The arithmetic of reductions, the same for every backend: element by element, the inputs are combined from rank 0
// upwards.
#pragma once

#include <cstdint>
#include <span>

#include <c10/core/ScalarType.h>

#include "comms/communicator.h"

namespace smp::comms {

bool can_be_summed(c10::ScalarType type);

/// outputs[k][i] = inputs[0][i] + inputs[1][i] + … for every k; contiguous tensors of one dtype and numel. fp16 and
/// bf16 are combined in fp32 and rounded once. An output may be one of the inputs; otherwise nothing overlaps. CPU
/// tensors; or CUDA tensors, on the current stream of the outputs' devices.
void combine_in_rank_order(Reduction reduction, std::span<const at::Tensor> inputs,
                           std::span<const at::Tensor> outputs);

/// The same on memory of the CPU, `numel` elements of `dtype` each.
void combine_on_cpu(Reduction reduction, c10::ScalarType dtype, std::span<const void* const> inputs,
                    std::span<void* const> outputs, std::int64_t numel);

/// Elements [begin, end) of a tensor, of `numel` cut for `ranks`: piece sizes differ by at most one granule of 16
/// elements.
struct Piece {
    std::int64_t begin = 0, end = 0;
    std::int64_t numel() const { return end - begin; }
};
Piece piece_of(std::int64_t numel, int ranks, int rank);

/// The elements of `piece` of a contiguous tensor, as a tensor of one dimension over the same memory.
at::Tensor view_of(const at::Tensor& tensor, Piece piece);

}  // namespace smp::comms
