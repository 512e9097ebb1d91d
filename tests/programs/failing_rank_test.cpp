// If these fail, a rank that fails leaves the others hanging (their waits would last 600 s, longer than ctest lets
// this program run), or its message is lost, or others speak beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class FailingRank : public ::testing::Test {
  protected:
    /// How four ranks end, threads and processes: with one message, on standard error and in the log.
    void expect(const std::string& how, int exit_code, const std::string& message) {
        for (const bool are_threads : {true, false}) {
            const std::string log = folder_ / (how + (are_threads ? ".threads" : ".processes"));
            const std::string command = fmt::format("{} {} {}", program("throwing_rank"), how, log);
            const Outcome outcome = run(are_threads ? command + " 4" : mpirun(4) + command);
            EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
            const std::string line = "throwing_rank: error: rank 1, pp 1, tp 0, rdp 0: " + message;
            EXPECT_EQ(outcome.count("throwing_rank: error:"), 1) << outcome.output;
            EXPECT_THAT(outcome.output, HasSubstr(line));
            const Outcome logged{.output = read_text(log)};
            EXPECT_EQ(logged.count("throwing_rank: error:"), 1) << logged.output;
            EXPECT_THAT(logged.output, HasSubstr(line));
            EXPECT_THAT(logged.output, Not(HasSubstr("gone without a word")));
            // A process that is held up ends by MPI, a thread with all others.
            EXPECT_EQ(logged.count("throwing_rank: ends without rank"), are_threads && how != "throws" ? 1 : 0)
                << logged.output;
        }
    }

    Folder folder_;
};

TEST_F(FailingRank, EndsTheJobSoonWithItsOwnMessageAndCode) { expect("throws", 3, "planted: the file is gone"); }

TEST_F(FailingRank, ThatACallHoldsUpIsToldOfByItsWatch) {
    expect("is_held_up", 4,
           "one call has not come back for 500 ms (the limit), in step 2: a planted call; see what the device");
}

TEST_F(FailingRank, EndsTheJobThoughACallHoldsAnotherRankUp) {
    expect("holds_up", 3, "planted: the file is gone");
    EXPECT_THAT(read_text(folder_ / "holds_up.threads"),
                ContainsRegex("UTC throwing_rank: ends without rank 2, held up in a call that does not come back\n"));
}

}  // namespace
}  // namespace smp::testing
