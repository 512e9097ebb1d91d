// If these fail, the norm depends on the number of threads or on how a gradient is cut into shards.
#include "runtime/update/gradient_norm.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace smp::runtime {
namespace {

TEST(GradientNorm, IsTheNormOfWhatIsCounted) {
    at::manual_seed(1);
    const at::Tensor flat = at::randn({1000 * kBlockElements});
    const std::vector<Range> counted = {
        {0, 700}, {128 * kBlockElements, 128 * kBlockElements + 1}, {500 * kBlockElements, 1000 * kBlockElements - 3}};
    double expected = 0;
    for (const Range& range : counted)
        expected += flat.narrow(0, range.begin, range.size()).to(at::kDouble).square().sum().item<double>();
    const std::vector<Range> all = {{0, flat.numel()}};
    // Each is a sum of 36,000 squares in fp64, off by at most 36,000 roundings of 2^-53 relative.
    EXPECT_NEAR(sum_of_squares(flat, counted, all).value(), expected, expected * 36000 * 0x1p-53);
}

TEST(GradientNorm, NeitherThreadsNorShardsShow) {
    at::manual_seed(2);
    const at::Tensor flat = at::randn({50000 * kBlockElements});
    const std::vector<Range> counted = {{0, 12345 * kBlockElements + 17},
                                        {20000 * kBlockElements, 49999 * kBlockElements + 5}};
    const std::vector<Range> all = {{0, flat.numel()}};
    const int before = at::get_num_threads();
    at::set_num_threads(1);
    const double expected = sum_of_squares(flat, counted, all).value();
    at::set_num_threads(2);
    EXPECT_EQ(sum_of_squares(flat, counted, all).value(), expected);
    for (const std::int64_t shards : {2, 5, 16}) {
        ExactSum total;
        const std::int64_t piece = flat.numel() / shards / kBlockElements * kBlockElements;
        for (std::int64_t shard = 0; shard < shards; ++shard) {
            const std::vector<Range> owned = {
                {shard * piece, shard + 1 == shards ? flat.numel() : (shard + 1) * piece}};
            total.add(sum_of_squares(flat, counted, owned));
        }
        EXPECT_EQ(total.value(), expected) << shards << " shards";
    }
    at::set_num_threads(before);
}

TEST(GradientNorm, ClippingIsTorchs) {
    EXPECT_EQ(clip_factor(2.0, 1.0), 1.0 / (2.0 + 1e-6));
    EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
    EXPECT_EQ(clip_factor(100.0, 0.0), 1.0);
}

}  // namespace
}  // namespace smp::runtime
