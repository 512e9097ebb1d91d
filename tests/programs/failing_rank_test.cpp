// If these fail, a rank that throws leaves the others hanging (their waits would last 600 s, longer than ctest lets
// this program run), or its message is lost among theirs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

TEST(FailingRank, EndsTheJobSoonWithItsOwnMessageAndCode) {
    for (const std::string& command : {program("throwing_rank") + " 4", mpirun(4) + program("throwing_rank")}) {
        const Outcome outcome = run(command);
        EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
        EXPECT_EQ(outcome.count("throwing_rank: error:"), 1) << outcome.output;
        EXPECT_THAT(outcome.output,
                    HasSubstr("throwing_rank: error: rank 1, pp 1, tp 0, rdp 0: planted: the file is gone"));
    }
}

}  // namespace
}  // namespace smp::testing
