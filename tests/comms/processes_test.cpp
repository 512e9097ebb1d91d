// What only processes can show: each test starts a job of its own, in which this binary runs a program of faults.cpp on
// every rank.
#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace smp::comms {

namespace {

using testing::HasSubstr;
using testing::Not;

struct Outcome {
    int exit_code = -1;
    std::string output;  // of all ranks and mpirun
};

/// `before`: what a rank's shell does first.
Outcome job(int ranks, const std::string& program, const std::string& before = "") {
    const std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe --bind-to none -np " +
        std::to_string(ranks) + " sh -c '" + before + " exec " +
        std::filesystem::read_symlink("/proc/self/exe").string() + " --fault " + program + "' 2>&1";
    Outcome outcome;
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return outcome;
    std::array<char, 4096> text;
    while (const std::size_t length = std::fread(text.data(), 1, text.size(), pipe))
        outcome.output.append(text.data(), length);
    const int status = ::pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return outcome;
}

/// Ranks told of a failure once, `sentence`, and the job ended with `exit_code`. It did not wait for the limits of its
/// other waits, which are longer than ctest's for this program.
void expect_told_once(const Outcome& outcome, const std::string& sentence, int exit_code) {
    EXPECT_THAT(outcome.output, HasSubstr("told: " + sentence));
    EXPECT_EQ(outcome.output.find("told:"), outcome.output.rfind("told:")) << outcome.output;
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
}

}  // namespace

TEST(Processes, EndSilentlyAfterWorkingWell) {
    const Outcome outcome = job(2, "works_and_ends");
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.output, "");  // no warning of MPI either
}

TEST(Processes, AReceiveThatNobodyAnswersEndsTheJobAtItsLimit) {
    expect_told_once(
        job(2, "receive_nobody_sends"),
        "receive of 4096 bytes from rank 0 in 'world' did not complete within 300 ms (the limit); rank 1 waits "
        "for rank 0: ",
        4);
}

TEST(Processes, ABarrierThatOneDoesNotReachEndsTheJobAtItsLimit) {
    expect_told_once(job(2, "barrier_one_does_not_reach"),
                     "barrier in 'world', still waiting for rank 1 did not complete within 300 ms", 4);
}

TEST(Processes, ARankThatThrowsEndsTheJobWithItsReasonAndCode) {
    expect_told_once(job(3, "rank_throws"), "the data is bad", 3);
}

TEST(Processes, OneRankTellsOfAFailureThatAllMeet) { expect_told_once(job(4, "all_throw"), "the data is bad", 3); }

TEST(Processes, WaitsThatRunOutTogetherAreToldOnceAndNameTheStoppedRank) {
    const Outcome outcome = job(4, "one_is_stopped");
    expect_told_once(outcome, "receive of 4 bytes from rank ", 4);
    EXPECT_THAT(outcome.output, testing::ContainsRegex("rank 3 waits for rank 2.*: rank 2 \\(on .*, process [0-9]*\\), "
                                                       "which does not answer"));
}

/// MPI itself has no limit: its start would wait for ever.
TEST(Processes, ARankThatNeverComesToTheStartIsNamed) {
    const Outcome outcome = job(3, "one_never_comes", R"([ "$OMPI_COMM_WORLD_RANK" = 1 ] && exec sleep 600;)");
    expect_told_once(outcome, "rank 0 on ", 4);
    EXPECT_THAT(outcome.output, HasSubstr("waits for MPI's start since 2 s (the limit): rank 1 of 3 has not come"));
}

TEST(Processes, ARankThatIsKilledEndsTheJob) {
    const Outcome outcome = job(3, "rank_is_killed");
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.output, HasSubstr("signal 9"));
}

TEST(Processes, TooShortAMessageIsReported) {
    expect_told_once(job(2, "message_too_short"),
                     "receive from rank 0 in 'world': 40 bytes were sent, 80 are to be received", 4);
}

TEST(Processes, WhatMpiReportsBecomesASentence) {
    const Outcome outcome = job(2, "message_too_long");
    expect_told_once(outcome,
                     "the receive of 40 bytes, rank 0 in 'world' (more bytes were sent than are to be received), "
                     "failed: MPI_ERR_TRUNCATE",
                     4);
}

TEST(Processes, AWorkThatIsDroppedEndsTheJob) {
    expect_told_once(job(2, "dropped_work"), "receive of 4096 bytes from rank 0 in 'world' was not waited for", 4);
}

TEST(Processes, MoreRanksThanProcessorsGetThrough) {
    const Outcome outcome = job(16, "sixteen_ranks");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(outcome.output, "");
}

TEST(ProcessesSlow, MessagesOverTwoGibibytesArrive) {
    const Outcome outcome = job(2, "two_gibibytes");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, Not(HasSubstr("told")));
}

}  // namespace smp::comms
