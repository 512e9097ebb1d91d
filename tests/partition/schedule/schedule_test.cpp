#include "partition/schedule/schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "tests/partition/timeline.h"

namespace smp::partition {
namespace {

using testing::makespan;

int peak_in_flight(const std::vector<Computation>& steps) {
    int now = 0, peak = 0;
    for (const Computation& step : steps) {
        now += step.kind == ComputationKind::forward ? 1 : -1;
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
    for (const auto stage : orders.ids()) {
        int forward = 0, backward = 0;
        for (const Computation& step : orders[stage]) {
            ASSERT_EQ(step.chunk, ChunkId(stage.number()));
            if (step.kind == ComputationKind::forward) {
                ASSERT_EQ(step.microbatch, MicrobatchId(forward++));
            } else {
                ASSERT_EQ(step.kind, ComputationKind::backward);
                ASSERT_EQ(step.microbatch, MicrobatchId(backward++));
                ASSERT_LT(step.microbatch, MicrobatchId(forward));
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
                EXPECT_EQ(in_flight_limit(StageId(r), p, k), expected);
                EXPECT_LE(in_flight_limit(StageId(r), p, k), k);
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
                                           [](const Computation& a, const Computation& b) { return a.kind < b.kind; }));
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
        for (const StageId r : orders.ids()) {
            ASSERT_EQ(peak_in_flight(orders[r]), std::min(microbatches, in_flight_limit(r, stages, active)))
                << stages << " stages, " << microbatches << " microbatches, K " << active << ", stage " << r;
        }
    });
}

TEST(Schedule, InterleavedIsTheClassicOrderFromKOfPUp) {
    for_all_schedules([](int stages, int microbatches, int active) {
        if (active < stages) return;
        const ComputeOrders orders = interleaved_orders(stages, microbatches, active);
        for (const StageId r : orders.ids()) {
            const int warm_up = std::min(microbatches, in_flight_limit(r, stages, active));
            const ChunkId own(r.number());
            std::vector<Computation> classic;
            for (int i = 0; i < warm_up; ++i) classic.push_back({ComputationKind::forward, MicrobatchId(i), own});
            for (int i = 0; i < microbatches; ++i) {
                classic.push_back({ComputationKind::backward, MicrobatchId(i), own});
                if (i + warm_up < microbatches)
                    classic.push_back({ComputationKind::forward, MicrobatchId(i + warm_up), own});
            }
            ASSERT_EQ(orders[r], classic);
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

/// Every microbatch once through each chunk, forward before input part before weight part, weight gradients ascending.
void expect_complete(const ComputeOrders& orders, int chunks_per_stage, int microbatches, bool split) {
    const int stages = static_cast<int>(orders.size());
    for (const StageId stage : orders.ids()) {
        std::map<std::pair<ChunkId, MicrobatchId>, int>
            state;  // by chunk and microbatch: forwards, backwards and weight parts so far
        std::map<ChunkId, int> backwards, weights;  // of each chunk
        for (const Computation& step : orders[stage]) {
            ASSERT_EQ(step.chunk.number() % stages, stage.number());
            ASSERT_LT(step.chunk, ChunkId(stages * chunks_per_stage));
            int& done = state[{step.chunk, step.microbatch}];
            if (step.kind == ComputationKind::forward) {
                ASSERT_EQ(done, 0);
            } else if (step.kind == ComputationKind::backward_weight) {
                ASSERT_TRUE(split);
                ASSERT_EQ(done, 2);
                ASSERT_EQ(step.microbatch, MicrobatchId(weights[step.chunk]++));
            } else {
                ASSERT_EQ(step.kind, split ? ComputationKind::backward_input : ComputationKind::backward);
                ASSERT_EQ(done, 1);
                ASSERT_EQ(step.microbatch, MicrobatchId(backwards[step.chunk]++));
            }
            ++done;
        }
        ASSERT_EQ(state.size(), static_cast<std::size_t>(chunks_per_stage * microbatches));
        for (const auto& [step, done] : state) ASSERT_EQ(done, split ? 3 : 2);
    }
}

/// Microbatches between their first forward and their last backward, on the first stage.
int peak_active(const std::vector<Computation>& steps) {
    int now = 0, peak = 0;
    for (const Computation& step : steps) {
        if (step.chunk != ChunkId(0) || step.kind == ComputationKind::backward_weight) continue;
        now += step.kind == ComputationKind::forward ? 1 : -1;
        peak = std::max(peak, now);
    }
    return peak;
}

/// Visits between forward and backward (or its input part).
int peak_held(const std::vector<Computation>& steps) {
    int now = 0, peak = 0;
    for (const Computation& step : steps) {
        if (step.kind != ComputationKind::backward_weight) now += step.kind == ComputationKind::forward ? 1 : -1;
        peak = std::max(peak, now);
    }
    return peak;
}

/// Calls `body(stages, chunks a stage, microbatches, K)` for p ≤ 8, v ≤ 4, m ≤ 40 and the least, the next and the most
/// K.
template <typename Body>
void for_all_chunked(Body body) {
    for (int p = 1; p <= 8; ++p) {
        for (int v = 1; v <= 4; ++v) {
            for (int m = 1; m <= 40; ++m) {
                const int least = std::min(m, 2 * p);
                for (const int active : std::set<int>{least, std::min(m, least + 1), m}) body(p, v, m, active);
            }
        }
    }
}

TEST(Chunked, RunsEveryStepOnceWithinItsBounds) {
    for_all_chunked([](int p, int v, int m, int active) {
        const ComputeOrders orders = chunked_orders(p, v, m, active);
        expect_complete(orders, v, m, false);
        EXPECT_LE(peak_active(orders[StageId(0)]), active) << p << " " << v << " " << m;
        for (const StageId r : orders.ids()) {
            const int limit = chunked_limit(r, p, v, largest_chunked_group(p, m));
            EXPECT_LE(peak_held(orders[r]), limit) << p << " " << v << " " << m << " " << active;
            // FACTS §5: (v−1)·p + 2(p−r−1) + 1 of each chunk, where there are as many.
            if (m % p == 0) {
                EXPECT_EQ(peak_held(orders[r]), std::min(limit, v * m));
            }
        }
    });
}

TEST(Chunked, LastsAsLongAsItsClosedForm) {
    for_all_chunked([](int p, int v, int m, int active) {
        // Costs of one chunk: a v-th of a stage. Bubble over ideal: (p − 1)/(v·m), cross-multiplied.
        const long last = makespan(chunked_orders(p, v, m, active), {.forward = 1, .backward = 2});
        const long ideal = 3L * v * m;
        if (m % p == 0) {
            ASSERT_EQ((last - ideal) * v * m, ideal * (p - 1)) << p << " " << v << " " << m << " " << active;
        } else {  // less than to fill up with microbatches for nothing
            ASSERT_LT(last, 3L * v * (m / p + 1) * p + 3L * (p - 1)) << p << " " << v << " " << m << " " << active;
        }
    });
}

TEST(Chunked, RunsWhereTheClassicWarmUpDeadlocks) {
    for (const auto& [p, v, m] : {std::tuple{4, 4, 5}, {8, 4, 9}, {8, 4, 33}}) {
        EXPECT_GT(makespan(chunked_orders(p, v, m, std::min(m, 2 * p)), {}), 0);
    }
}

TEST(Chunked, HidesTheLatencyOfMessages) {
    const testing::Costs slow_link{.forward = 10, .backward = 20, .latency = 4};
    for (const int p : {2, 4}) {
        for (const int m : {16, 32}) {
            // On the way of the first group through all chunks, and of the last one back: there and nowhere else.
            const long ramps = (p - 1) * (30 + 2 * 4) + p * 2 * 4;
            EXPECT_EQ(makespan(chunked_orders(p, 2, m, m), slow_link), 30L * 2 * m + ramps) << p << " " << m;
        }
    }
}

TEST(Chunked, RefusesTooFewActiveMicrobatches) {
    EXPECT_THROW(chunked_orders(4, 2, 16, 7), std::logic_error);
    EXPECT_THROW(chunked_orders(4, 2, 6, 5), std::logic_error);
    EXPECT_THROW(chunked_orders(4, 0, 6, 6), std::logic_error);
    EXPECT_THROW(chunked_orders(4, 2, 6, 6, CostsOfChunks(3)), std::logic_error);
}

TEST(ZeroBubble, RunsEveryStepOnceWithinItsBounds) {
    for_all_schedules([](int p, int m, int active) {
        const ComputeOrders orders = zero_bubble_orders(p, m, active);
        expect_complete(orders, 1, m, true);
        EXPECT_LE(peak_active(orders[StageId(0)]), active);
        for (const StageId r : orders.ids())
            EXPECT_LE(peak_held(orders[r]), in_flight_limit(r, p, active)) << p << " " << m;
    });
}

TEST(ZeroBubble, LastsAsLongAsH1) {
    for (int p = 1; p <= 8; ++p) {
        for (int m = p; m <= 32; ++m) {
            // F 1, B 2, W 1: bubble over ideal (p−1)(F+B−2W)/(m(F+B)), cross-multiplied.
            const long last = makespan(zero_bubble_orders(p, m, p), {.forward = 1, .backward = 2, .weight = 1});
            ASSERT_EQ((last - 3L * m) * m * 3, 3L * m * (p - 1)) << p << " " << m;
        }
    }
}

TEST(ZeroBubble, IsNeverSlowerThanTheBackwardInOnePiece) {
    for_all_schedules([](int p, int m, int active) {
        ASSERT_LE(makespan(zero_bubble_orders(p, m, active), {}), makespan(interleaved_orders(p, m, active), {}))
            << p << " " << m << " " << active;
    });
}

/// Bytes that a stage keeps, by its list.
std::int64_t peak_bytes(const std::vector<Computation>& steps, const ComputationCosts& costs) {
    std::int64_t now = 0, peak = 0;
    for (const Computation& step : steps) {
        now += step.kind == ComputationKind::forward          ? costs.stash_bytes
               : step.kind == ComputationKind::backward_input ? costs.deferred_bytes - costs.stash_bytes
                                                              : -costs.deferred_bytes;
        peak = std::max(peak, now);
    }
    return peak;
}

/// A stage of any costs: none free, what is deferred up to twice the stash.
rc::Gen<ComputationCosts> any_costs() {
    return rc::gen::build<ComputationCosts>(rc::gen::set(&ComputationCosts::forward, rc::gen::inRange(1, 20)),
                                            rc::gen::set(&ComputationCosts::backward_input, rc::gen::inRange(1, 20)),
                                            rc::gen::set(&ComputationCosts::backward_weight, rc::gen::inRange(1, 20)),
                                            rc::gen::set(&ComputationCosts::stash_bytes, rc::gen::inRange(1, 100)),
                                            rc::gen::set(&ComputationCosts::deferred_bytes, rc::gen::inRange(1, 200)));
}
CostsOfChunks any_costs(int chunks) {
    const auto costs =
        *rc::gen::container<std::vector<ComputationCosts>>(static_cast<std::size_t>(chunks), any_costs());
    return {costs.begin(), costs.end()};
}

RC_GTEST_PROP(ZeroBubble, KeepsItsBoundsAtAnyCosts, ()) {
    const int p = *rc::gen::inRange(1, 7), m = *rc::gen::inRange(1, 16), active = *rc::gen::inRange(1, m + 1);
    const CostsOfChunks costs = any_costs(p);
    const ComputeOrders orders = zero_bubble_orders(p, m, active, costs);
    expect_complete(orders, 1, m, true);
    RC_ASSERT(!::testing::Test::HasFatalFailure());
    RC_ASSERT(peak_active(orders[StageId(0)]) <= active);
    for (const StageId r : orders.ids()) {
        const auto& steps = orders[r];
        const auto& cost = costs[ChunkId(r.number())];
        RC_ASSERT(peak_bytes(steps, cost) <= zero_bubble_bound(r, p, active, cost));
        // No more than the fullest stage of 1F1B keeps, unless a single microbatch's deferred part is already more.
        if (cost.deferred_bytes <= cost.stash_bytes)
            RC_ASSERT(zero_bubble_bound(r, p, active, cost) ==
                      in_flight_limit(StageId(0), p, active) * cost.stash_bytes);
    }
}

RC_GTEST_PROP(Schedule, RunsToItsEndAtAnyCosts, ()) {
    const int p = *rc::gen::inRange(1, 7), v = *rc::gen::inRange(1, 4), m = *rc::gen::inRange(1, 16);
    const int least = std::min(m, 2 * p);
    const CostsOfChunks costs = any_costs(p * v);
    const int active = *rc::gen::inRange(least, m + 1);
    expect_complete(chunked_orders(p, v, m, active, costs), v, m, false);
    expect_complete(interleaved_orders(p, m, active, CostsOfChunks(costs.begin(), costs.begin() + p)), 1, m, false);
    RC_ASSERT(!::testing::Test::HasFatalFailure());
}

TEST(Schedule, ForwardOnlyRunsForwardsInOrder) {
    const ComputeOrders orders = forward_only_orders(3, 5);
    expect_every_step_once(orders, 5, false);
    EXPECT_EQ(makespan(orders, {}), 5 + 2);
}

TEST(Schedule, ForwardOnlyOverChunksKeepsEveryStageBusy) {
    for (int p = 1; p <= 4; ++p) {
        for (int v = 1; v <= 3; ++v) {
            for (int groups = 1; groups <= 3; ++groups) {
                EXPECT_EQ(makespan(forward_only_orders(p, groups * p, v), {}), groups * p * v + p - 1);
                EXPECT_GT(makespan(forward_only_orders(p, groups * p + p / 2, v), {}), 0);  // runs to its end
            }
        }
    }
}

TEST(Schedule, RefusesNothingToDo) {
    EXPECT_THROW(interleaved_orders(0, 1, 1), std::logic_error);
    EXPECT_THROW(interleaved_orders(1, 0, 1), std::logic_error);
    EXPECT_THROW(interleaved_orders(1, 1, 0), std::logic_error);
    EXPECT_THROW(simple_orders(1, 0), std::logic_error);
}

}  // namespace
}  // namespace smp::partition
