// What a rank's program orders, and what it leaves open: one action has ended before another starts only through its
// stream or through events.
#pragma once

#include <array>
#include <vector>

#include "partition/plan/action.h"

namespace smp::partition {

/// Within one program whose waits lie behind what they wait for. Compute actions start and end in list order; transfers
/// and copies
/// start in list order and end on their own. A wait orders everything that had ended when the awaited action started,
/// and that action, before what follows on the waiting stream. What other ranks do is not used: conservative.
class HappensBefore {
  public:
    explicit HappensBefore(const RankProgram& program);

    /// Has action `earlier` ended before action `later` starts, in every execution?
    bool ends_before(ActionId earlier, ActionId later) const;

  private:
    const RankProgram& program_;
    /// For each action, from which position on each stream it is known to have ended.
    std::array<Table<ActionId, ActionId>, kStreams> known_on_;
};

}  // namespace smp::partition
