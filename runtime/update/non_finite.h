// Where the first number that is not finite appeared: searched for only after a sum has shown that there is one, so
// that a step costs nothing for it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "models/model_spec.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/state/flat_layout.h"

namespace smp::runtime {

/// Of all numbers of a kind that are not finite, the first; on several ranks, on the lowest of them.
struct NonFinite {
    std::string where;  // "the value of h.1.mlp.c_fc.weight (module h.1)", "the output of h.2"
    int rank = 0;       // of the world
};

class NonFiniteSearch {
  public:
    /// All must outlive it. What they hold is looked at where it lies (non_finite_marks.h).
    NonFiniteSearch(const RankGroups& groups, const Stage& stage, const models::ModelSpec& model)
        : groups_(groups), stage_(stage), model_(model) {}

    /// Among parameters' values, in the order of the model. Collective, as all here.
    std::optional<NonFinite> in_values() const;
    /// Among gradients, from the end of the model, where the backward starts: what follows from one that is not finite
    /// is seldom finite itself. Only what lies in `owned` of the flat buffer is looked at.
    std::optional<NonFinite> in_gradients(std::span<const Range> owned) const;
    /// Among modules' outputs, in the order of the model: `first` is the lowest index of this rank, if there is one.
    std::optional<NonFinite> in_outputs(std::optional<int> first) const;

  private:
    std::optional<NonFinite> least(std::optional<std::int64_t> own,
                                   const std::function<std::string(std::int64_t)>& where) const;

    const RankGroups& groups_;
    const Stage& stage_;
    const models::ModelSpec& model_;
};

}  // namespace smp::runtime
