#include "comms/collectives/rank_order_sum.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include "comms/collectives/device_sum.h"
#include "tests/comms/worlds.h"

namespace smp::comms {

TEST(RankOrderSum, OneProcessorsLoopsAndAtensOperatorsAgreeBitForBit) {
    for (const auto dtype : dtypes_that_add()) {
        for (const std::int64_t numel : {1, 1023, 1024, 5000}) {
            std::vector<at::Tensor> terms;
            for (int rank = 0; rank < 5; ++rank) terms.push_back(random_tensor(numel, dtype, rank));
            const at::Tensor sum = at::zeros({numel}, dtype), maximum = at::zeros({numel}, dtype);
            combine_in_rank_order(Reduction::sum, terms, std::vector{sum});
            combine_in_rank_order(Reduction::max, terms, std::vector{maximum, terms[3]});
            EXPECT_TRUE(same_bits(maximum, terms[3]));
            terms[3] = random_tensor(numel, dtype, 3);
            EXPECT_TRUE(same_bits(sum, sum_of(terms))) << dtype;
            EXPECT_TRUE(same_bits(maximum, max_of(terms))) << dtype;
        }
    }
}

TEST(RankOrderSum, SixteenBitNumbersAreRoundedOnce) {
    // 256 + 1 + 1 in bf16, which has 8 bits: rounding after each addition loses both ones.
    std::vector<at::Tensor> terms;
    for (const double value : {256.0, 1.0, 1.0}) terms.push_back(at::full({3}, value, at::kBFloat16));
    combine_in_rank_order(Reduction::sum, terms, terms);
    EXPECT_EQ(terms[0][1].item<double>(), 258.0);
}

// Of more ranks than a kernel takes, in groups over NCCL (one result) and of threads that share a device (one each).
TEST(RankOrderSumOnDevice, OfAnyNumberOfTermsHasTheBitsOfOneLoop) {
    if (!at::hasCUDA() || c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).deviceCount() == 0)
        GTEST_SKIP() << "needs a GPU";
    constexpr int kMost = DeviceSum::kMost;
    constexpr std::int64_t kNumel = 100;
    for (const auto dtype : dtypes_that_add()) {
        for (const int count : {kMost, kMost + 1, 3 * kMost + 2}) {
            std::vector<at::Tensor> terms;
            for (int rank = 0; rank < count; ++rank) terms.push_back(random_tensor(kNumel, dtype, rank));
            const auto on_device = [&] {
                std::vector<at::Tensor> rows;
                const at::Tensor all = at::stack(terms).to(at::kCUDA);
                for (int rank = 0; rank < count; ++rank) rows.push_back(all.select(0, rank));
                return rows;
            };
            std::vector<at::Tensor> sums = on_device(), maxima = on_device(), everywhere = on_device();
            combine_in_rank_order(Reduction::sum, sums, std::span(&sums[kMost - 1], 1));
            combine_in_rank_order(Reduction::max, maxima, std::span(&maxima[kMost - 1], 1));
            combine_in_rank_order(Reduction::sum, everywhere, everywhere);
            const at::Tensor sum = sum_of(terms);
            EXPECT_TRUE(same_bits(sums[kMost - 1], sum)) << dtype << ", " << count << " terms";
            EXPECT_TRUE(same_bits(maxima[kMost - 1], max_of(terms))) << dtype << ", " << count << " terms";
            for (const int rank : {0, kMost - 1, count - 1})
                EXPECT_TRUE(same_bits(everywhere[static_cast<std::size_t>(rank)], sum)) << dtype << ", " << count;
            EXPECT_TRUE(same_bits(sums.front(), terms.front())) << "a term that is no result was written";
        }
    }
}

TEST(RankOrderSum, PiecesAreDisjointCompleteAndNearlyEqual) {
    for (const std::int64_t numel : {0, 1, 16, 31, 33, 100, 4096, 100'003}) {
        for (int ranks = 1; ranks <= 9; ++ranks) {
            std::int64_t end = 0;
            for (int rank = 0; rank < ranks; ++rank) {
                const Piece piece = piece_of(numel, ranks, rank);
                EXPECT_EQ(piece.begin, end);
                EXPECT_LE(piece.numel(), numel / ranks + 32);
                end = piece.end;
            }
            EXPECT_EQ(end, numel);
        }
    }
}

}  // namespace smp::comms
