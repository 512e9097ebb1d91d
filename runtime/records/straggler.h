// Which rank holds the others up, step after step.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace smp::runtime {

/// Each rank's own work (the step without waits) is measured by its like: the median of the other ranks that do the
/// same, those of its stage; where there are none, of all other ranks. The ratio of the two is learnt over steps 2 to 9
/// that are seen here (the first one warms up). From then on a rank is slow in a step where its work took over 15 %
/// longer than it should: than its like or, where those do something else, than usual beside them; and by more than
/// three times the usual distance, of what was learnt from its median and of its like from theirs: where ranks share
/// processors all times scatter, and none of the ranks is at fault. One that is slow in 7 steps in a row is a straggler
/// for as long as it stays slow: with 5, times that scatter by 60 % named somebody within 500 steps.
class StragglerRule {
  public:
    static constexpr double kExcess = 0.15;
    static constexpr double kSpreads = 3;
    static constexpr int kStepsInARow = 7;
    static constexpr int kWarmUp = 1;
    static constexpr int kLearned = 8;

    /// `kinds`: of each rank's work; equal numbers do the same.
    explicit StragglerRule(std::vector<int> kinds);

    struct Straggler {
        int rank = 0;
        double seconds = 0;   // that its own work took in this step
        double expected = 0;  // that it should have taken
        bool is_new = false;  // said of this rank for the first time
    };

    /// Of one step more. `seconds`: each rank's own work. Of several stragglers the slowest; none: no rank is one.
    std::optional<Straggler> step(std::span<const double> seconds);

  private:
    /// What the rank should take, and how far such times scatter; none: not known yet.
    struct Expectation {
        double seconds = 0;
        double spread = 0;
    };
    std::optional<Expectation> expectation(std::size_t rank, std::span<const double> seconds) const;
    std::vector<double> like(std::size_t rank, std::span<const double> seconds) const;
    void learn(std::span<const double> seconds);

    std::vector<int> kinds_;
    std::vector<bool> has_equals_;  // whether others do the same
    std::int64_t steps_ = 0;
    std::vector<std::vector<double>> usual_;  // by rank: its work over its like's, in the learnt steps
    std::vector<int> slow_in_a_row_;
    std::vector<bool> named_;
};

}  // namespace smp::runtime
