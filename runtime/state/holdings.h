// Who holds what: which elements of the model's global tensors, and of the optimizer's, lie on which rank, where there,
// and whose copy counts. A pure function of plan, model and rank: whatever moves state between ranks, files and layouts
// asks it and derives nothing itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/model_spec.h"
#include "models/slice.h"
#include "partition/job/precision.h"
#include "partition/job/words.h"
#include "partition/plan/plan.h"
#include "runtime/state/flat_layout.h"

namespace smp::runtime {

/// Each is a flat buffer of a rank. `value` has the layout of StageLayout::flat, and so has that of gradients; the
/// others have the ranges that the rank updates, one behind the other (AdamW).
enum class Held {
    value,          // as trained with
    master,         // fp32, where values are 16 bits wide; elsewhere there is none
    first_moment,   // of AdamW, fp32
    second_moment,  // likewise
};

/// Elements of one tensor that lie side by side in one buffer of one rank.
struct Shard {
    std::string tensor;  // global name; of a tied parameter, that of what it is tied to
    Held kind = Held::value;
    models::Slice slice;  // what the rank's tensor ranks hold of the global tensor …
    Range of_slice;       // … and the local elements of it that these are, padding included
    Range place;          // in the buffer
    /// Whether this is the copy that counts, which is written and gathered. Of all copies of an element, on replicas,
    /// tensor ranks and stages, exactly one is: each replica has an equal share of what all hold alike.
    bool is_owner = false;
};

/// Elements of the global tensor that lie side by side there and in the buffer. Ascending; padding is in none.
struct ShardRun {
    std::int64_t global = 0;  // first element in the global tensor
    std::int64_t place = 0;   // first element in the buffer
    std::int64_t count = 0;

    bool operator==(const ShardRun&) const = default;
};
std::vector<ShardRun> runs_of(const Shard& shard);

/// All that world rank `rank` holds of tensor `tensor` (empty: of all), in order of the model, then of the enumeration.
std::vector<Shard> holdings(const partition::Plan& plan, const models::ModelSpec& model, partition::Precision precision,
                            int rank, std::string_view tensor = {});

}  // namespace smp::runtime

namespace smp::partition {

template <>
struct Words<runtime::Held> {
    static constexpr std::array<std::string_view, 4> list = {"value", "master", "first moment", "second moment"};
};

}  // namespace smp::partition
