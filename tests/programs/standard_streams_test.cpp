// Programs whose standard streams are closed, full, left or not read: they do their work and end with the code that
// they would have had.
#include <fcntl.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class StandardStreams : public ::testing::Test {
  protected:
    /// `redirections` follow the command.
    Outcome train(const std::string& redirections, int steps = 4) const {
        return run(fmt::format("bash -c '{} --config {} --output {} --resume never --set training.steps={} {}'",
                               program("smp_train"), job_, folder_ / "out", steps, redirections));
    }
    void expect_whole_record(int steps = 4) const {
        std::ifstream metrics(folder_ / "out/metrics.jsonl");
        int lines = 0;
        for (std::string line; std::getline(metrics, line);)
            EXPECT_EQ(Json::parse(line)["step"], ++lines) << line;  // nothing else got into it
        EXPECT_EQ(lines, steps);
        EXPECT_THAT(read_text(folder_ / "out/log.txt"), HasSubstr(fmt::format("step {}/{}", steps, steps)));
    }

    Folder folder_;
    std::string job_ = folder_.write("job.json", R"({
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 256},
        "training": {"steps": 1, "global_batch_size": 4},
        "data": {"train": ")" SMP_SOURCE_DIR R"(/configs/data/shakespeare.txt"}})");
};

TEST_F(StandardStreams, AFailureKeepsItsCodeWhereItCannotBeSaid) {
    for (const std::string streams : {"2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
        for (const std::string command :
             {"smp_train --config nosuch.json", "smp_plan --config nosuch.json", "smp_data"})
            EXPECT_EQ(run(program(command) + " " + streams).exit_code, 2) << command << " " << streams;
    }
    // A failure of a rank, and one under mpirun.
    const std::string bad = fmt::format("{} --config {} --output {} --set data.train={}", program("smp_train"), job_,
                                        folder_ / "out", folder_ / "nothing.bin");
    EXPECT_EQ(run(bad + " 2>/dev/full").exit_code, 3);
    EXPECT_EQ(run(mpirun(2) + "bash -c '" + bad + " 2>/dev/full'").exit_code, 3);
}

TEST_F(StandardStreams, ClosedOnesLeaveTheirNumbersToNoFile) {
    for (const std::string closed : {"1>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"}) {
        EXPECT_EQ(train(closed).exit_code, 0) << closed;
        expect_whole_record();
    }
}

TEST_F(StandardStreams, TrainingGoesOnWithoutAReader) {
    const Outcome outcome = train("| head -1; exit ${PIPESTATUS[0]}");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    expect_whole_record();
    EXPECT_EQ(train(">/dev/full").exit_code, 0);
    expect_whole_record();
}

/// A pipe of one page that nobody reads, and enough lines to fill it.
TEST_F(StandardStreams, TrainingGoesOnWithAReaderWhoDoesNotRead) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_EQ(::fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    const Outcome outcome = train(fmt::format(">&{} 2>&{}", ends[1], ends[1]), 60);
    EXPECT_EQ(outcome.exit_code, 0);
    expect_whole_record(60);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_F(StandardStreams, AnswersThatNobodyWantsEndWell) {
    for (const std::string name : {"smp_train", "smp_plan", "smp_data"}) {
        const Outcome outcome = run(fmt::format("bash -c '{} --help | true; exit ${{PIPESTATUS[0]}}'", program(name)));
        EXPECT_EQ(outcome.exit_code, 0) << name << outcome.output;
        EXPECT_EQ(run(program(name) + " --help >/dev/full 2>/dev/null").exit_code, 3) << name;
    }
}

}  // namespace
}  // namespace smp::testing
