#include "partition/schedule.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "tests/partition/timeline.h"

namespace smp::partition {
namespace {

using testing::makespan;

int peak_in_flight(const std::vector<ComputeStep>& steps) {
    int now = 0, peak = 0;
    for (const ComputeStep& step : steps) {
        now += step.kind == ActionKind::forward ? 1 : -1;
        peak = std::max(peak, now);
    }
    return peak;
}

/// Calls `body(stages, microbatches, K)` for all K that a configuration allows.
template <typename Body>
void for_all_schedules(Body body) {
    for (int stages = 1; stages <= 8; ++stages) {
        for (int microbatches = 1; microbatches <= 16; ++microbatches) {
            for (int active = 1; active <= microbatches; ++active) body(stages, microbatches, active);
        }
    }
}

void expect_every_step_once(const ComputeOrders& orders, int microbatches, bool with_backward) {
    for (std::size_t stage = 0; stage < orders.size(); ++stage) {
        int forward = 0, backward = 0;
        for (const ComputeStep& step : orders[stage]) {
            ASSERT_EQ(step.chunk, static_cast<int>(stage));
            if (step.kind == ActionKind::forward) {
                ASSERT_EQ(step.microbatch, forward++);
            } else {
                ASSERT_EQ(step.kind, ActionKind::backward);
                ASSERT_EQ(step.microbatch, backward++);
                ASSERT_LT(step.microbatch, forward);
            }
        }
        ASSERT_EQ(forward, microbatches);
        ASSERT_EQ(backward, with_backward ? microbatches : 0);
    }
}

TEST(Schedule, InFlightLimitIsThatOfTheDesign) {
    for (int p = 1; p <= 8; ++p) {
        for (int r = 0; r < p; ++r) {
            for (int k = 1; k <= 20; ++k) {
                const int expected = k <= p ? std::min(k, p - r) : p - r + std::min(k - p, p - r - 1);
                EXPECT_EQ(in_flight_limit(r, p, k), expected);
                EXPECT_LE(in_flight_limit(r, p, k), k);
            }
        }
    }
}

TEST(Schedule, SimpleRunsAllForwardsThenAllBackwards) {
    for (int stages = 1; stages <= 8; ++stages) {
        for (int microbatches = 1; microbatches <= 16; ++microbatches) {
            const ComputeOrders orders = simple_orders(stages, microbatches);
            expect_every_step_once(orders, microbatches, true);
            for (const auto& steps : orders) {
                EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end(),
                                           [](const ComputeStep& a, const ComputeStep& b) { return a.kind < b.kind; }));
                EXPECT_EQ(peak_in_flight(steps), microbatches);
            }
            EXPECT_EQ(makespan(orders, {}), 3 * (microbatches + stages - 1));
        }
    }
}

TEST(Schedule, InterleavedRunsEveryStepOnceAndReachesItsLimitExactly) {
    for_all_schedules([](int stages, int microbatches, int active) {
        const ComputeOrders orders = interleaved_orders(stages, microbatches, active);
        expect_every_step_once(orders, microbatches, true);
        for (int r = 0; r < stages; ++r) {
            ASSERT_EQ(peak_in_flight(orders[static_cast<std::size_t>(r)]),
                      std::min(microbatches, in_flight_limit(r, stages, active)))
                << stages << " stages, " << microbatches << " microbatches, K " << active << ", stage " << r;
        }
    });
}

TEST(Schedule, InterleavedIsTheClassicOrderFromKOfPUp) {
    for_all_schedules([](int stages, int microbatches, int active) {
        if (active < stages) return;
        const ComputeOrders orders = interleaved_orders(stages, microbatches, active);
        for (int r = 0; r < stages; ++r) {
            const int warm_up = std::min(microbatches, in_flight_limit(r, stages, active));
            std::vector<ComputeStep> classic;
            for (int i = 0; i < warm_up; ++i) classic.push_back({ActionKind::forward, i, r});
            for (int i = 0; i < microbatches; ++i) {
                classic.push_back({ActionKind::backward, i, r});
                if (i + warm_up < microbatches) classic.push_back({ActionKind::forward, i + warm_up, r});
            }
            ASSERT_EQ(orders[static_cast<std::size_t>(r)], classic);
        }
    });
}

TEST(Schedule, InterleavedLastsAsLongAsItsClosedForm) {
    for_all_schedules([](int p, int m, int active) {
        const int k = std::min(active, p);
        const long last = makespan(interleaved_orders(p, m, active), {.forward = 1, .backward = 2});
        ASSERT_EQ(last, 3 * (p * ((m - 1) / k + 1) + (m - 1) % k)) << "p " << p << ", m " << m << ", K " << active;
        // Bubble over ideal: (p − 1)/m at K ≥ p; at least p/K − 1 below, for whole rounds of K.
        if (active >= p) {
            ASSERT_EQ((last - 3 * m) * m, 3 * m * (p - 1));
        } else if (m % active == 0) {
            ASSERT_GE(last * active, 3 * m * p);
        }
    });
}

TEST(Schedule, FewerActiveMicrobatchesNeverHelp) {
    for_all_schedules([](int p, int m, int active) {
        if (active == 1) return;
        EXPECT_LE(makespan(interleaved_orders(p, m, active), {}), makespan(interleaved_orders(p, m, active - 1), {}));
    });
}

TEST(Schedule, MoreActiveMicrobatchesThanStagesHideLatency) {
    const testing::Costs slow_link{.forward = 10, .backward = 20, .latency = 5};
    for (int p = 2; p <= 8; ++p) {
        EXPECT_LT(makespan(interleaved_orders(p, 16, p + 2), slow_link),
                  makespan(interleaved_orders(p, 16, p), slow_link))
            << p;
    }
}

TEST(Schedule, ForwardOnlyRunsForwardsInOrder) {
    const ComputeOrders orders = forward_only_orders(3, 5);
    expect_every_step_once(orders, 5, false);
    EXPECT_EQ(makespan(orders, {}), 5 + 2);
}

TEST(Schedule, RefusesNothingToDo) {
    EXPECT_THROW(interleaved_orders(0, 1, 1), std::logic_error);
    EXPECT_THROW(interleaved_orders(1, 0, 1), std::logic_error);
    EXPECT_THROW(interleaved_orders(1, 1, 0), std::logic_error);
    EXPECT_THROW(simple_orders(1, 0), std::logic_error);
}

}  // namespace
}  // namespace smp::partition
