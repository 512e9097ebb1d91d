#include "models/stash.h"

namespace smp::models {

std::int64_t kept_bytes(std::span<const StashEntry> entries, Pass pass) {
    std::int64_t bytes = 0;
    for (const StashEntry& entry : entries) {
        const bool counted_elsewhere = pass == Pass::forward && entry.name == kModuleInput;
        if (is_kept(entry, pass) && !counted_elsewhere) bytes += entry.bytes;
    }
    return bytes;
}

}  // namespace smp::models
