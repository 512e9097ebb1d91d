#include "runtime/execution/gathered_memory.h"

#include <algorithm>

#include <ATen/ops/empty.h>

namespace smp::runtime {

namespace {

constexpr auto kCategories = static_cast<std::int64_t>(partition::kMemoryCategories);
constexpr std::int64_t kNumbers = 2 * kCategories + 1;  // of partition::MemoryUse

}  // namespace

std::vector<partition::MemoryUse> memory_of_ranks(comms::Communicator& world, const partition::MemoryUse& own) {
    const at::Tensor numbers = at::empty({kNumbers}, at::kLong), all = at::empty({world.size(), kNumbers}, at::kLong);
    auto* next = std::ranges::copy(own.live, numbers.data_ptr<std::int64_t>()).out;
    next = std::ranges::copy(own.peak, next).out;
    *next = own.device_peak;
    world.all_gather(all, numbers).wait();
    std::vector<partition::MemoryUse> ranks(static_cast<std::size_t>(world.size()));
    const auto* from = all.const_data_ptr<std::int64_t>();
    for (partition::MemoryUse& rank : ranks) {
        std::copy_n(from, kCategories, rank.live.begin());
        std::copy_n(from + kCategories, kCategories, rank.peak.begin());
        rank.device_peak = from[2 * kCategories];
        from += kNumbers;
    }
    return ranks;
}

}  // namespace smp::runtime
