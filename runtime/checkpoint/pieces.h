// What a rank writes of a checkpoint: a value, like who holds what, which it follows from.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/model_spec.h"
#include "partition/plan/plan.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/state/holdings.h"

namespace smp::runtime {

/// Which tensor of a checkpoint elements of a buffer belong to.
StateKind kind_of(Held held);

/// Of what the rank holds, the elements whose copy counts, and whose state it is: values of 16 bits are the masters,
/// rounded. Those of all ranks have every element of the state once.
std::vector<Shard> written_shards(const partition::Plan& plan, const models::ModelSpec& model,
                                  partition::Precision precision, int rank);

Piece piece_of(const Shard& shard);

/// The ranks of a plan, for a person: "2 pipeline x 1 tensor x 4 data ranks".
std::string layout_text(const partition::Plan& plan);

/// Names and shapes in the order of the model, as in a manifest.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors_of(const models::ModelSpec& model);

}  // namespace smp::runtime
