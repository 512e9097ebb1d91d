// Which memory is a device's, which is pinned, and how much each device has.
#pragma once

#include <cstdint>

namespace smp::standin {

enum class Memory { pageable, pinned, device };
struct Place {
    Memory memory = Memory::pageable;
    int device = -1;
};
Place place_of(const void* address);

}  // namespace smp::standin
