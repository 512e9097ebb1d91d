// Gradients over the data-parallel ranks: reduce-scatter in buckets, then, where every rank updates everything, gather.
#pragma once

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "runtime/flat_layout.h"

namespace smp::runtime {

/// Leaves in this rank's pieces (layout.owned(group.rank())) of `gradients` [layout.elements] the sum over the group,
/// added in rank order. The rest of the buffer keeps this rank's own gradients. Collective, blocking; a group of one
/// does nothing.
void reduce_scatter_gradients(comms::Communicator& group, const FlatLayout& layout, const at::Tensor& gradients);

/// Fills every rank's `flat` [layout.elements] with the owners' pieces. Collective, blocking; a group of one does
/// nothing.
void all_gather_pieces(comms::Communicator& group, const FlatLayout& layout, const at::Tensor& flat);

}  // namespace smp::runtime
