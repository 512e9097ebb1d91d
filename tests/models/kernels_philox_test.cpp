// Keyed randomness: the published generator, and masks that depend on the key alone.
#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/dropout_mask.h"
#include "models/kernels/philox.h"

namespace smp::models::kernels {
namespace {

PhiloxBlock block(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) { return {a, b, c, d}; }

void expect_equal(PhiloxBlock x, PhiloxBlock y) {
    EXPECT_EQ(x.x0, y.x0);
    EXPECT_EQ(x.x1, y.x1);
    EXPECT_EQ(x.x2, y.x2);
    EXPECT_EQ(x.x3, y.x3);
}

// The known answers that are published with Random123 for philox4x32 with 10 rounds.
TEST(KernelsPhilox, KnownAnswers) {
    constexpr std::uint32_t kOnes = 0xffffffff;
    expect_equal(philox(block(0, 0, 0, 0), {0, 0}), block(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
    expect_equal(philox(block(kOnes, kOnes, kOnes, kOnes), {kOnes, kOnes}),
                 block(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
    expect_equal(philox(block(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344), {0xa4093822, 0x299f31d0}),
                 block(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(KernelsPhilox, NormalNumbersHaveTheRightMoments) {
    constexpr int kCount = 1 << 18;
    double sum = 0, squares = 0, neighbours = 0, fourth = 0;
    for (int i = 0; i < kCount; ++i) {
        const double x = normal(7, 11, i);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
        neighbours += x * normal(7, 11, i ^ 1);
    }
    const double deviation = 1 / std::sqrt(kCount);  // of a mean of standard normal numbers; bounds are 5 deviations
    EXPECT_NEAR(sum / kCount, 0, 5 * deviation);
    EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0) * deviation);
    EXPECT_NEAR(fourth / kCount, 3, 5 * std::sqrt(96.0) * deviation);
    EXPECT_NEAR(neighbours / kCount, 0, 5 * std::sqrt(2.0) * deviation);  // each pair counts twice
}

TEST(KernelsPhilox, NormalNumbersDependOnSeedStreamAndElement) {
    std::set<double> seen;
    for (std::uint64_t seed : {0, 1})
        for (std::uint64_t stream : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40})
            for (std::int64_t element : {std::int64_t{0}, std::int64_t{1}, std::int64_t{2}, std::int64_t{1} << 40})
                seen.insert(normal(seed, stream, element));
    EXPECT_EQ(seen.size(), 2U * 3U * 4U);
}

DropoutKey key_of(double probability) {
    return {.probability = probability, .seed = 5, .step = 3, .first_sequence = 0, .length = 8, .layer = 2};
}

std::vector<float> row_of(const DropoutKey& key, std::uint64_t sequence, std::uint32_t row, std::int64_t columns) {
    std::vector<float> mask(static_cast<std::size_t>(columns));
    fill_dropout_row(mask.data(), dropout_mask(key), sequence, row, columns);
    return mask;
}

// The vector loop against the definition, element by element, for rows that end anywhere in a run of 64.
TEST(KernelsDropoutMask, IsTheOneDefined) {
    const DropoutMask dropout = dropout_mask(key_of(0.3));
    for (const std::int64_t columns : {1, 15, 16, 17, 63, 64, 65, 130, 512}) {
        const std::uint64_t sequence = (std::uint64_t{1} << 33) + 5;
        const std::vector<float> mask = row_of(key_of(0.3), sequence, 77, columns);
        for (std::int64_t c = 0; c < columns; ++c) {
            const std::uint32_t bits = dropout_bits(dropout.key, sequence, 77, static_cast<std::uint32_t>(c));
            ASSERT_EQ(mask[static_cast<std::size_t>(c)], bits >= dropout.threshold ? dropout.scale : 0)
                << "column " << c << " of " << columns;
        }
    }
}

TEST(KernelsDropoutMask, KeepsTheShareItShould) {
    for (const double probability : {0.0, 0.1, 0.5, 0.9}) {
        std::int64_t kept = 0, pairs = 0, count = 0;
        for (std::uint32_t row = 0; row < 512; ++row) {
            const std::vector<float> mask = row_of(key_of(probability), 4, row, 512);
            for (std::size_t c = 0; c < mask.size(); ++c) {
                kept += mask[c] != 0;
                pairs += mask[c] != 0 && mask[c ^ 1] != 0;
                ++count;
            }
        }
        const double n = static_cast<double>(count), keep = 1 - probability;
        // A count of n independent events: 5 standard deviations. Pairs count twice, hence twice the variance.
        EXPECT_NEAR(static_cast<double>(kept), n * keep, 5 * std::sqrt(n * keep * probability)) << probability;
        EXPECT_NEAR(static_cast<double>(pairs), n * keep * keep, 5 * std::sqrt(2 * n * keep * keep)) << probability;
        EXPECT_EQ(dropout_mask(key_of(probability)).scale, static_cast<float>(1 / keep));
    }
}

TEST(KernelsDropoutMask, DiffersWithEveryPartOfTheKey) {
    const DropoutKey key = key_of(0.5);
    std::set<std::vector<float>> seen;
    seen.insert(row_of(key, 0, 0, 256));
    seen.insert(row_of(key, 1, 0, 256));
    seen.insert(row_of(key, std::uint64_t{1} << 32, 0, 256));
    seen.insert(row_of(key, 0, 1, 256));
    for (DropoutKey other : {key, key, key, key}) seen.insert(row_of(other, 0, 0, 256));  // equal keys: nothing new
    EXPECT_EQ(seen.size(), 4U);
    DropoutKey other = key;
    other.seed = 6;
    seen.insert(row_of(other, 0, 0, 256));
    other = key;
    other.step = 4;
    seen.insert(row_of(other, 0, 0, 256));
    other = key;
    other.layer = 3;
    seen.insert(row_of(other, 0, 0, 256));
    for (const DropoutSite site :
         {DropoutSite::attention_weights, DropoutSite::attention_output, DropoutSite::mlp_output}) {
        other = key;
        other.site = site;
        seen.insert(row_of(other, 0, 0, 256));
    }
    EXPECT_EQ(seen.size(), 10U);
}

TEST(KernelsDropoutMask, RefusesWhatIsNoProbability) {
    for (const double probability : {-0.1, 1.0, 1.5, std::nan("")})
        EXPECT_THROW(dropout_mask(key_of(probability)), std::logic_error);
}

}  // namespace
}  // namespace smp::models::kernels
