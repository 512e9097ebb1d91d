// Plain text as a run's data: its tokens are made once and kept beside the output, and are never those of another text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SmpTrainText : public ::testing::Test {
  protected:
    SmpTrainText() {
        text_ = read_text(SMP_SOURCE_DIR "/configs/data/shakespeare.txt");
        folder_.write("text.txt", text_);
        folder_.write("job.json", R"({
            "model": {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 50257},
            "parallel": {"pipeline_parallel_degree": 2},
            "training": {"steps": 2, "global_batch_size": 4, "evaluate_every": 2, "evaluation_batches": 1},
            "data": {"train": "text.txt", "tokenizer": "gpt2", "validation_fraction": 0.1}})");
    }
    Outcome train(const std::string& output, const std::string& before = "", const std::string& options = "") const {
        return run(fmt::format("cd {} && {} {} --config job.json --output {} {}", folder_ / "", before,
                               program("smp_train"), output, options));
    }
    std::string numbers(const std::string& output) const { return promised(folder_ / (output + "/metrics.jsonl")); }
    std::vector<std::filesystem::directory_entry> kept(const std::string& output) const {
        std::vector<std::filesystem::directory_entry> files;
        for (const auto& file : std::filesystem::directory_iterator(folder_ / (output + "/tokens")))
            files.push_back(file);
        return files;
    }

    Folder folder_;
    std::string text_;
};

TEST_F(SmpTrainText, IsTokenisedForTheFirstStartOnlyAndForAnotherTextAgain) {
    ASSERT_EQ(train("out").exit_code, 0);
    const std::string first = numbers("out");
    ASSERT_EQ(kept("out").size(), 1U);
    const auto made = kept("out")[0].last_write_time();
    const Outcome again = train("out", mpirun(2), "--resume never");
    ASSERT_EQ(again.exit_code, 0) << again.output;
    EXPECT_EQ(numbers("out"), first);
    ASSERT_EQ(kept("out").size(), 1U);
    EXPECT_EQ(kept("out")[0].last_write_time(), made);

    // As long and as old as before.
    const auto time = std::filesystem::last_write_time(folder_ / "text.txt");
    for (char& c : text_)
        if (c == 'e') c = 'a';
    folder_.write("text.txt", text_);
    std::filesystem::last_write_time(folder_ / "text.txt", time);
    ASSERT_EQ(train("out", "", "--resume never").exit_code, 0);
    ASSERT_EQ(train("fresh").exit_code, 0);
    EXPECT_EQ(numbers("out"), numbers("fresh"));
    EXPECT_NE(numbers("out"), first);
    EXPECT_EQ(kept("out").size(), 1U);
}

TEST_F(SmpTrainText, ADiskThatTakesNoTokensCostsASentenceAndNotTheRun) {
    const Outcome free = train("free");
    ASSERT_EQ(free.exit_code, 0);
    EXPECT_THAT(free.output, Not(HasSubstr("cannot be kept")));
    const auto expect_told = [&](const Outcome& outcome, const std::string& output, int exit_code) {
        EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
        EXPECT_EQ(outcome.count("warning: the tokens of \"" + (folder_ / "text.txt") + "\" are held in memory"), 1)
            << outcome.output;
        EXPECT_EQ(numbers(output), numbers("free"));
    };
    expect_told(train("full", "ulimit -f 500; "), "full", 6);  // the checkpoint is not there either

    ASSERT_EQ(train("blocked", "", "--set data.tokenizer=bytes").exit_code, 0);
    folder_.write("blocked/tokens", "a file where a folder should be");
    expect_told(train("blocked", mpirun(2), "--resume never"), "blocked", 0);
}

TEST_F(SmpTrainText, ADryRunLeavesNothingAndInputsMayNotLieAmongTheTokens) {
    const Outcome dry = train("dry", "", "--dry-run");
    EXPECT_EQ(dry.exit_code, 0) << dry.output;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "dry"));

    ASSERT_EQ(train("out").exit_code, 0);
    folder_.write("out/tokens/mine.txt", text_);
    const Outcome inside = train("out", "", "--resume never --set data.train=out/tokens/mine.txt");
    EXPECT_EQ(inside.exit_code, 2);
    EXPECT_THAT(inside.output, HasSubstr("tokens/, which the run clears"));
}

}  // namespace
}  // namespace smp::testing
