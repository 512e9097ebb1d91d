#include "runtime/execution/hosts.h"

#include <algorithm>
#include <array>
#include <unistd.h>

#include <ATen/ops/empty.h>

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

std::vector<int> hosts_of_ranks(comms::Communicator& world) {
    constexpr std::int64_t kLength = 256;  // HOST_NAME_MAX is 64 on Linux, POSIX allows 255
    std::array<char, kLength> own_name{};
    if (::gethostname(own_name.data(), own_name.size() - 1) != 0) own_name[0] = '\0';
    const at::Tensor own = at::empty({kLength}, at::kByte), all = at::empty({world.size() * kLength}, at::kByte);
    std::ranges::copy(own_name, own.data_ptr<std::uint8_t>());
    world.all_gather(all, own).wait();
    std::vector<std::string> names;
    for (int rank = 0; rank < world.size(); ++rank)
        names.emplace_back(reinterpret_cast<const char*>(all.const_data_ptr<std::uint8_t>()) + rank * kLength);
    return numbered(names);
}

}  // namespace smp::runtime
