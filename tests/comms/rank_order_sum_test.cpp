#include "comms/collectives/rank_order_sum.h"

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
