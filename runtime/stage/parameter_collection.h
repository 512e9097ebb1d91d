// Whole parameters out of the ranks that hold their slices.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "models/model_spec.h"
#include "partition/plan/plan.h"
#include "runtime/stage/stage.h"

namespace smp::runtime {

enum class Tensors { values, gradients };

/// The whole tensor of a logical parameter, unpadded, fp32 [Parameter::global_shape] on the CPU of world rank 0;
/// undefined on other ranks. Collective over the world: it comes from the ranks that own it (holdings()), so that what
/// other ranks have not fetched yet does not matter. Gradients must have been reduced.
at::Tensor gather_parameter(const Stage& stage, comms::Communicator& world, const partition::Plan& plan,
                            const models::ModelSpec& model, const std::string& name, Tensors what);

}  // namespace smp::runtime
