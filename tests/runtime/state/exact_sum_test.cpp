// If these fail, the gradient norm and the loss depend on how parameters and microbatches are spread over ranks and
// threads.
#include "runtime/state/exact_sum.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/seed.h"

namespace smp::runtime {
namespace {

/// Doubles of all magnitudes and both signs, subnormals included.
std::vector<double> random_terms(std::mt19937_64& random, int count) {
    std::vector<double> terms;
    std::uniform_int_distribution<int> exponent(-1070, 1000);
    std::uniform_real_distribution<double> mantissa(-1, 1);
    for (int i = 0; i < count; ++i) terms.push_back(std::ldexp(mantissa(random), exponent(random)));
    return terms;
}

double sum(const std::vector<double>& terms) {
    ExactSum total;
    for (const double term : terms) total.add(term);
    return total.value();
}

TEST(ExactSum, OneTermComesBackAsItWas) {
    std::mt19937_64 random(testing::seed() + 1);
    for (const double term : random_terms(random, 20000)) {
        ASSERT_EQ(sum({term}), term);
    }
    for (const double term :
         {0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1.0})
        EXPECT_EQ(sum({term}), term);
}

TEST(ExactSum, TwoTermsAreRoundedAsTheProcessorDoes) {
    std::mt19937_64 random(testing::seed() + 2);
    std::uniform_int_distribution<int> exponent(-60, 60);
    std::uniform_real_distribution<double> mantissa(-1, 1);
    for (int i = 0; i < 200000; ++i) {
        const double a = mantissa(random), b = std::ldexp(mantissa(random), exponent(random));
        ASSERT_EQ(sum({a, b}), a + b) << a << " " << b;
    }
    // Ties go to even; a bit far below breaks the tie.
    EXPECT_EQ(sum({1.0, std::ldexp(1.0, -53)}), 1.0);
    EXPECT_EQ(sum({1.0, std::ldexp(1.0, -53), std::ldexp(1.0, -1074)}), 1.0 + std::ldexp(1.0, -52));
    EXPECT_EQ(sum({1.0 + std::ldexp(1.0, -52), std::ldexp(1.0, -53)}), 1.0 + std::ldexp(1.0, -51));
    EXPECT_EQ(sum({-1.0, -std::ldexp(1.0, -53), -std::ldexp(1.0, -1074)}), -1.0 - std::ldexp(1.0, -52));
}

TEST(ExactSum, NeitherOrderNorGroupingShows) {
    std::mt19937_64 random(testing::seed() + 3);
    for (int round = 0; round < 50; ++round) {
        auto terms = random_terms(random, 300);
        const double expected = sum(terms);
        std::shuffle(terms.begin(), terms.end(), random);
        ExactSum parts[5];
        for (std::size_t i = 0; i < terms.size(); ++i) parts[random() % 5].add(terms[i]);
        ExactSum total;
        for (const ExactSum& part : parts) total.add(part);
        ASSERT_EQ(total.value(), expected);
        ASSERT_EQ(sum(terms), expected);
    }
}

TEST(ExactSum, WordsAddedAsIntegersAreTheSum) {
    std::mt19937_64 random(testing::seed() + 4);
    std::vector<std::int64_t> words(ExactSum::kWords);
    std::vector<double> all;
    for (int rank = 0; rank < 7; ++rank) {
        ExactSum own;
        for (const double term : random_terms(random, 40)) {
            own.add(term);
            all.push_back(term);
        }
        const auto mine = own.words();
        for (int i = 0; i < ExactSum::kWords; ++i) words[i] += mine[i];
    }
    EXPECT_EQ(ExactSum::from_words(words).value(), sum(all));
}

TEST(ExactSum, LargeTermsThatCancelLeaveTheSmallOne) { EXPECT_EQ(sum({1e300, 1e-300, -1e300}), 1e-300); }

TEST(ExactSum, ATermThatIsNotFiniteShows) {
    EXPECT_TRUE(std::isnan(sum({1.0, std::numeric_limits<double>::infinity()})));
    EXPECT_TRUE(std::isnan(sum({std::nan(""), 1.0})));
}

}  // namespace
}  // namespace smp::runtime
