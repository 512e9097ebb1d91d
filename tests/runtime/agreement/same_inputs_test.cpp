// If these fail, ranks of two builds train together, and nobody says so.
#include "runtime/agreement/same_inputs.h"

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comms/this_process.h"
#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/program_version.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(SameProgram, AVersionNamesTheBuild) {
    EXPECT_THAT(program_version(), MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+, build [0-9a-f]{40}"));
}

TEST(SameProgram, ARankOfAnotherBuildIsNamedWithHostAndBothVersions) {
    std::atomic<int> told = 0;
    smp::testing::on_local_ranks(3, [&](comms::Communicator& world) {
        require_same_program(world, "1.0, build aa");
        try {
            require_same_program(world, world.rank() == 2 ? "1.0, build ab" : "1.0, build aa");
            ADD_FAILURE() << "rank " << world.rank() << " went on";
        } catch (const partition::ConfigError& error) {
            EXPECT_THAT(error.what(), AllOf(HasSubstr("rank 2 (host " + comms::host_name() + ")"),
                                            HasSubstr("1.0, build ab there, and 1.0, build aa on rank 0")));
            ++told;
        }
        world.barrier();
    });
    EXPECT_EQ(told, 3);
}

}  // namespace
}  // namespace smp::runtime
