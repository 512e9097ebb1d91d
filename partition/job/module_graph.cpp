#include "partition/job/module_graph.h"

namespace smp::partition {

std::int64_t kept_bytes(const ModuleGraph& graph, int first, int end) {
    std::int64_t bytes = 0;
    for (int m = first; m < end; ++m) {
        const Module& module = graph.modules.at(static_cast<std::size_t>(m));
        bytes += module.stash_bytes;
        if (m + 1 < end) bytes += module.output_bytes;
    }
    return bytes;
}

}  // namespace smp::partition
