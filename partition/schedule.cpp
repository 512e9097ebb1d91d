#include "partition/schedule.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace smp::partition {
namespace {

void require_positive(int stages, int microbatches, int active_microbatches) {
    if (stages < 1 || microbatches < 1 || active_microbatches < 1) {
        throw std::logic_error(
            fmt::format("schedule: {} stages, {} microbatches, {} of them active; each is at least 1", stages,
                        microbatches, active_microbatches));
    }
}

constexpr long kForwardTicks = 1;
constexpr long kBackwardTicks = 2;

/// One stage while the backward-first order is being played through.
struct Player {
    int limit = 1;
    long busy_until = 0;
    std::vector<long> forward_ends, backward_ends;  // of microbatches 0, 1, …, as far as they have started

    int forwards() const { return static_cast<int>(forward_ends.size()); }
    int backwards() const { return static_cast<int>(backward_ends.size()); }
};

bool has_ended(const std::vector<long>& ends, int microbatch, long now) {
    return microbatch < static_cast<int>(ends.size()) && ends[static_cast<std::size_t>(microbatch)] <= now;
}

}  // namespace

int in_flight_limit(int stage, int stages, int active_microbatches) {
    const int from_the_end = stages - stage;
    if (active_microbatches <= stages) return std::min(active_microbatches, from_the_end);
    return from_the_end + std::min(active_microbatches - stages, from_the_end - 1);
}

ComputeOrders simple_orders(int stages, int microbatches) {
    require_positive(stages, microbatches, microbatches);
    ComputeOrders orders = forward_only_orders(stages, microbatches);
    for (int stage = 0; stage < stages; ++stage) {
        for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
            orders[static_cast<std::size_t>(stage)].push_back({ActionKind::backward, microbatch, stage});
        }
    }
    return orders;
}

ComputeOrders interleaved_orders(int stages, int microbatches, int active_microbatches) {
    require_positive(stages, microbatches, active_microbatches);
    const int active = std::min(active_microbatches, microbatches);
    std::vector<Player> players(static_cast<std::size_t>(stages));
    ComputeOrders orders(static_cast<std::size_t>(stages));
    for (int r = 0; r < stages; ++r) players[static_cast<std::size_t>(r)].limit = in_flight_limit(r, stages, active);

    for (long now = 0; players.front().backwards() < microbatches; ++now) {
        for (std::size_t r = 0; r < players.size(); ++r) {
            Player& player = players[r];
            if (player.busy_until > now) continue;
            const int backward = player.backwards();
            const int forward = player.forwards();
            const bool is_last = r + 1 == players.size();
            const auto& gradient_ends = is_last ? player.forward_ends : players[r + 1].backward_ends;
            if (backward < forward && has_ended(gradient_ends, backward, now)) {
                player.busy_until = now + kBackwardTicks;
                player.backward_ends.push_back(player.busy_until);
                orders[r].push_back({ActionKind::backward, backward, static_cast<int>(r)});
            } else if (forward < microbatches && forward - backward < player.limit &&
                       (r == 0 || has_ended(players[r - 1].forward_ends, forward, now))) {
                player.busy_until = now + kForwardTicks;
                player.forward_ends.push_back(player.busy_until);
                orders[r].push_back({ActionKind::forward, forward, static_cast<int>(r)});
            }
        }
    }
    return orders;
}

ComputeOrders forward_only_orders(int stages, int microbatches) {
    require_positive(stages, microbatches, 1);
    ComputeOrders orders(static_cast<std::size_t>(stages));
    for (int stage = 0; stage < stages; ++stage) {
        for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
            orders[static_cast<std::size_t>(stage)].push_back({ActionKind::forward, microbatch, stage});
        }
    }
    return orders;
}

}  // namespace smp::partition
