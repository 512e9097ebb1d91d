#include "launch/bench/measurement.h"

#include "launch/command/text_table.h"

namespace smp::launch {

std::string name_of(const Measurement& row, bool with_ranks) {
    return with_ranks ? row.variant.name + ", " + counted(row.ranks, "rank") : row.variant.name;
}

}  // namespace smp::launch
