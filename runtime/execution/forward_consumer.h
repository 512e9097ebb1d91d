// Who wants more of a forward pass than its loss.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/segment.h"

namespace smp::runtime {

/// Given to a run of a forward-only program, it sees what each module of this rank makes.
class ForwardConsumer {
  public:
    virtual ~ForwardConsumer() = default;

    /// May take the last module of the model with its input, in place of its forward: returns whether it did. What it
    /// then communicates over the tensor group it does on every tensor rank of the stage.
    virtual bool takes_head(models::Segment& /*head*/, const at::Tensor& /*input*/) { return false; }
    /// A module (index in the graph) has made its boundary tensor: undefined from the last one.
    virtual void made(int /*module*/, const at::Tensor& /*output*/) {}
};

}  // namespace smp::runtime
