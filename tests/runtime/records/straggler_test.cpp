// If these fail, a rank that holds all others up is not named, or one is that does not.
#include "runtime/records/straggler.h"

#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace smp::runtime {
namespace {

/// Ranks whose work differs by kind, and scatters a little from step to step.
class World {
  public:
    World(std::vector<int> kinds, double noise, unsigned seed)
        : kinds_(std::move(kinds)), noise_(noise), random_(seed) {}

    std::vector<double> step(int slowed = -1, double factor = 1) {
        std::uniform_real_distribution<double> scatter(1 - noise_, 1 + noise_);
        std::vector<double> seconds;
        for (std::size_t rank = 0; rank < kinds_.size(); ++rank)
            seconds.push_back(0.1 * (1 + kinds_[rank]) * scatter(random_) *
                              (static_cast<int>(rank) == slowed ? factor : 1));
        return seconds;
    }

  private:
    std::vector<int> kinds_;
    double noise_;
    std::mt19937 random_;
};

/// Kinds of `each` ranks in every one of some stages: at least two ranks.
std::vector<int> any_kinds() {
    const int each = *rc::gen::inRange(1, 5), stages = *rc::gen::inRange(each == 1 ? 2 : 1, 5);
    std::vector<int> kinds;
    for (int stage = 0; stage < stages; ++stage) kinds.insert(kinds.end(), static_cast<std::size_t>(each), stage);
    return kinds;
}

RC_GTEST_PROP(Straggler, NobodyIsOneWhereTimesOnlyScatter, ()) {
    const auto kinds = any_kinds();
    World world(kinds, 0.03, *rc::gen::arbitrary<unsigned>());
    StragglerRule rule(kinds);
    for (int step = 0; step < 60; ++step) RC_ASSERT(!rule.step(world.step()));
}

// By 30 % from step 20 on: named by step 30, once, and only that rank.
RC_GTEST_PROP(Straggler, ARankThatIsSlowedIsNamedWithinTenSteps, ()) {
    const auto kinds = any_kinds();
    const int slowed = *rc::gen::inRange(0, static_cast<int>(kinds.size()));
    World world(kinds, 0.02, *rc::gen::arbitrary<unsigned>());
    StragglerRule rule(kinds);
    int named = 0;
    for (int step = 1; step <= 30; ++step) {
        const auto straggler = rule.step(world.step(step >= 20 ? slowed : -1, 1.3));
        if (!straggler) continue;
        RC_ASSERT(straggler->rank == slowed);
        RC_ASSERT(step >= 20 + StragglerRule::kStepsInARow - 1);
        RC_ASSERT(straggler->is_new == (named == 0));
        RC_ASSERT(straggler->seconds > 1.15 * straggler->expected);
        ++named;
    }
    RC_ASSERT(named >= 4);
}

RC_GTEST_PROP(Straggler, FourSlowStepsAreNone, ()) {
    const auto kinds = any_kinds();
    World world(kinds, 0.02, *rc::gen::arbitrary<unsigned>());
    StragglerRule rule(kinds);
    for (int step = 0; step < 100; ++step) RC_ASSERT(!rule.step(world.step(step >= 12 && step % 5 != 0 ? 0 : -1, 2)));
}

// Ranks that share processors: whoever has one is fast, and every step it is another.
TEST(Straggler, WhereAllScatterWidelyNobodyIsNamed) {
    for (const std::vector<int>& kinds : {std::vector<int>(8, 0), {0, 0}, {0, 1, 2}}) {
        World world(kinds, 0.6, 7);
        StragglerRule rule(kinds);
        for (int step = 0; step < 500; ++step) EXPECT_FALSE(rule.step(world.step())) << step;
    }
}

TEST(Straggler, OneThatIsSlowFromTheStartIsNamedByItsEquals) {
    StragglerRule rule({0, 0, 1, 1});
    for (int step = 1; step <= 20; ++step) {
        const auto straggler = rule.step(std::vector{1.0, 1.0, 3.0, 4.0});
        ASSERT_EQ(straggler.has_value(), step >= 16) << step;
        if (straggler) {
            EXPECT_EQ(straggler->rank, 3);
        }
    }
}

TEST(Straggler, ARankAloneIsNone) {
    StragglerRule rule({0});
    for (int step = 0; step < 20; ++step) EXPECT_FALSE(rule.step(std::vector{step < 10 ? 1.0 : 9.0}));
}

// A stage that has more to do than the others is not slow for that, but becomes so.
TEST(Straggler, AnUnevenPipelineIsMeasuredByItsOwnPast) {
    StragglerRule rule({0, 1, 2, 3});
    for (int step = 0; step < 20; ++step) EXPECT_FALSE(rule.step(std::vector{1.0, 1.0, 1.0, 1.7}));
    for (int step = 1; step < StragglerRule::kStepsInARow; ++step)
        EXPECT_FALSE(rule.step(std::vector{1.0, 1.0, 1.0, 2.3}));
    const auto straggler = rule.step(std::vector{1.0, 1.0, 1.0, 2.3});
    ASSERT_TRUE(straggler);
    EXPECT_EQ(straggler->rank, 3);
    EXPECT_NEAR(straggler->expected, 1.7, 1e-9);
    EXPECT_FALSE(rule.step(std::vector{1.0, 1.0, 1.0, 1.7}));
}

}  // namespace
}  // namespace smp::runtime
