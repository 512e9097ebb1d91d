// What a reduction over a group of ranks takes of each rank's memory, beside the tensors that it reduces.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "partition/job/words.h"

namespace smp::partition {

/// How ranks reach each other's tensors. Threads of one process add where the tensors lie and take nothing. With
/// messages a rank receives the others' pieces beside its own and adds them up (comms/collectives/message_collectives.h
/// has the rounds).
enum class Transport { shared_memory, messages };
template <>
struct Words<Transport> {
    static constexpr std::array<std::string_view, 2> list = {"shared_memory", "messages"};
};

/// Of `bytes`, to which each rank has 1/ranks in the end: the others' pieces of that.
constexpr std::int64_t reduce_scatter_scratch(std::int64_t bytes, int ranks, Transport transport) {
    return transport == Transport::messages && ranks > 1 ? (ranks - 1) * (bytes / ranks) : 0;
}

/// Of `bytes` that all ranks get: the others' pieces; the others' tensors where those are short, or two ranks'. Pieces
/// are multiples of 64 bytes: the largest counts.
constexpr std::int64_t all_reduce_scratch(std::int64_t bytes, int ranks, Transport transport) {
    constexpr std::int64_t kShortBytes = 32 << 10, kGranule = 64;
    if (transport == Transport::shared_memory || ranks == 1) return 0;
    if (ranks == 2 || bytes * (ranks - 1) <= kShortBytes) return (ranks - 1) * bytes;
    const std::int64_t granules = (bytes + kGranule - 1) / kGranule;
    return (ranks - 1) * std::min(bytes, (granules + ranks - 1) / ranks * kGranule);
}

}  // namespace smp::partition
