// If these fail, a mistake on one rank is a hang or a flood of messages instead of one sentence.
#include "runtime/agreement/agreement.h"

#include <atomic>
#include <new>
#include <string>

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/job/problem.h"
#include "runtime/agreement/hosts.h"
#include "runtime/files/data_error.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using smp::testing::on_local_ranks;
using ::testing::HasSubstr;

TEST(Agreement, AFailureOfOneRankIsThrownByAllWithItsCode) {
    std::atomic<int> told = 0;
    on_local_ranks(4, [&](comms::Communicator& world) {
        try {
            fail_together(world, [&] {
                if (world.rank() >= 2) throw DataError("no such file: weights-" + std::to_string(world.rank()));
            });
            FAIL() << "rank " << world.rank() << " went on";
        } catch (const AgreedFailure& failure) {
            EXPECT_EQ(failure.message(), "no such file: weights-2");
            EXPECT_EQ(failure.exit_code(), 3);
            EXPECT_EQ(failure.rank(), 2);
            ++told;
        }
        world.barrier();  // the world is still usable
    });
    EXPECT_EQ(told, 4);
}

TEST(Agreement, MemoryThatRunsOutIsSaidOfTheMemoryThatDid) {
    const auto sentence_on_a_device = [] {
        try {
            TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 20.00 MiB.");
        } catch (const std::exception& error) {
            EXPECT_EQ(exit_code_of(error), 5);
            return sentence_of(error);
        }
        return std::string();
    };
    EXPECT_EQ(sentence_on_a_device(),
              "out of memory: the CUDA device refuses more; lower parallel.active_microbatches or the batch, or see "
              "parallel.activation_checkpointing and parallel.shard_optimizer_state");
    EXPECT_EQ(exit_code_of(std::bad_alloc()), 5);
    EXPECT_THAT(sentence_of(std::bad_alloc()), HasSubstr("look at the memory of the machine"));
}

TEST(Agreement, NothingHappensWhereNobodyFails) {
    on_local_ranks(3, [&](comms::Communicator& world) {
        fail_together(world, [] {});
        require_equal_text(world, "a=1\nb=2\n");
    });
}

TEST(Agreement, ADifferentConfigurationIsNamedWithRankKeyAndBothValues) {
    std::atomic<int> told = 0;
    on_local_ranks(3, [&](comms::Communicator& world) {
        try {
            require_equal_text(
                world, world.rank() == 1 ? "model.n_layer=4\ntraining.seed=2\n" : "model.n_layer=4\ntraining.seed=1\n");
            FAIL() << "rank " << world.rank() << " went on";
        } catch (const AgreedFailure& failure) {
            EXPECT_THAT(failure.message(), HasSubstr("rank 1 "));
            EXPECT_THAT(failure.message(), HasSubstr("training.seed is 2 there and 1 on rank 0"));
            EXPECT_EQ(failure.exit_code(), 2);
            ++told;
        }
    });
    EXPECT_EQ(told, 3);
}

TEST(Agreement, ExitCodesAreThoseOfTheContract) {
    EXPECT_EQ(exit_code_of(partition::ConfigError(partition::Problem{"model.n_layer", "is missing"})), 2);
    EXPECT_EQ(exit_code_of(DataError("x")), 3);
    EXPECT_EQ(exit_code_of(comms::CommunicationError("x")), 4);
    EXPECT_EQ(exit_code_of(std::bad_alloc()), 5);
    EXPECT_EQ(exit_code_of(std::logic_error("x")), 1);
}

TEST(Agreement, RanksOfOneHostShareItsNumber) {
    const std::vector<std::string> names = {"b", "a", "b", "c", "a"};
    EXPECT_EQ(numbered(names), (std::vector<int>{0, 1, 0, 2, 1}));
    testing::on_local_ranks(3, [&](comms::Communicator& world) {
        EXPECT_EQ(hosts_of_ranks(world), (std::vector<int>{0, 0, 0}));
    });
}

}  // namespace
}  // namespace smp::runtime
