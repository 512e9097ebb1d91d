#include "runtime/records/straggler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "runtime/records/median.h"

namespace smp::runtime {

namespace {

double spread(std::vector<double> values) {
    const double middle = median(values);
    for (double& value : values) value = std::abs(value - middle);
    return median(std::move(values));
}

}  // namespace

StragglerRule::StragglerRule(std::vector<int> kinds)
    : kinds_(std::move(kinds)), usual_(kinds_.size()), slow_in_a_row_(kinds_.size()), named_(kinds_.size()) {
    for (const int kind : kinds_) has_equals_.push_back(std::ranges::count(kinds_, kind) > 1);
}

std::vector<double> StragglerRule::like(std::size_t rank, std::span<const double> seconds) const {
    std::vector<double> like;
    for (std::size_t other = 0; other < kinds_.size(); ++other)
        if (other != rank && (!has_equals_[rank] || kinds_[other] == kinds_[rank])) like.push_back(seconds[other]);
    return like;
}

std::optional<StragglerRule::Expectation> StragglerRule::expectation(std::size_t rank,
                                                                     std::span<const double> seconds) const {
    if (usual_[rank].size() < kLearned) return std::nullopt;
    const auto others = like(rank, seconds);
    const double middle = median(others), learnt = middle * spread(usual_[rank]);
    if (!has_equals_[rank]) return Expectation{middle * median(usual_[rank]), learnt};
    return Expectation{middle, std::max(spread(others), learnt)};
}

void StragglerRule::learn(std::span<const double> seconds) {
    if (steps_ < kWarmUp || steps_ >= kWarmUp + kLearned) return;
    for (std::size_t rank = 0; rank < kinds_.size(); ++rank)
        if (const double middle = median(like(rank, seconds)); middle > 0)
            usual_[rank].push_back(seconds[rank] / middle);
}

std::optional<StragglerRule::Straggler> StragglerRule::step(std::span<const double> seconds) {
    std::optional<Straggler> slowest;
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
        const auto expected = expectation(i, seconds);
        const double excess = expected ? seconds[i] - expected->seconds : 0;
        const bool is_slow = expected && excess > kExcess * expected->seconds && excess > kSpreads * expected->spread;
        slow_in_a_row_[i] = is_slow ? slow_in_a_row_[i] + 1 : 0;
        if (slow_in_a_row_[i] < kStepsInARow) continue;
        const Straggler straggler{static_cast<int>(i), seconds[i], expected->seconds, !named_[i]};
        if (!slowest || straggler.seconds * slowest->expected > slowest->seconds * straggler.expected)
            slowest = straggler;
    }
    learn(seconds);
    ++steps_;
    if (slowest) named_[slowest->rank] = true;
    return slowest;
}

}  // namespace smp::runtime
