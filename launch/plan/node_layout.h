// Whether the nodes that a configuration states are those that its ranks are on.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "partition/job/options.h"

namespace smp::launch {

/// `hosts`: what the machine of each rank calls itself, in the order of ranks. The stated nodes are the real ones where
/// each holds as many ranks, one node after another. Throws ConfigError where cluster.nodes is above 1 and they are
/// not: durations and warnings of the plan would be those of another job. Returns a note where it is 1, which is what
/// it is when nothing is stated, and there are several hosts; none where they agree.
std::optional<std::string> compare_nodes(const partition::ClusterOptions& cluster, std::span<const std::string> hosts);

}  // namespace smp::launch
