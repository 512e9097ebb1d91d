// One tensor that a segment keeps between two passes, as declared: a name and a size.
#pragma once

#include <cstdint>
#include <string>

namespace smp::models {

struct StashEntry {
    std::string name;
    std::int64_t bytes = 0;

    bool operator==(const StashEntry&) const = default;
};

}  // namespace smp::models
