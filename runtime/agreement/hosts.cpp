#include "runtime/agreement/hosts.h"

#include <algorithm>

#include "comms/this_process.h"
#include "runtime/agreement/agreement.h"

namespace smp::runtime {

std::vector<int> numbered(std::span<const std::string> names) {
    std::vector<std::string> seen;
    std::vector<int> numbers;
    for (const std::string& name : names) {
        const auto found = std::ranges::find(seen, name);
        numbers.push_back(static_cast<int>(found - seen.begin()));
        if (found == seen.end()) seen.push_back(name);
    }
    return numbers;
}

std::vector<std::string> host_names(comms::Communicator& world) { return texts_of_all(world, comms::host_name()); }

std::vector<int> hosts_of_ranks(comms::Communicator& world) { return numbered(host_names(world)); }

}  // namespace smp::runtime
