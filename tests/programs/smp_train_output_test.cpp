// What a run may write over: its own, and nothing of others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

class SmpTrainOutput : public ::testing::Test {
  protected:
    Outcome train(const std::string& config, const std::string& output, const std::string& options = "") const {
        return run(fmt::format("cd {} && {} --config {} --output {} {}", folder_ / "", program("smp_train"), config,
                               output, options));
    }
    void expect_refused(const Outcome& outcome, const std::string& part) const {
        EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr("--output"));
        EXPECT_THAT(outcome.output, HasSubstr(part));
    }
    void make(const std::string& name) const { std::filesystem::create_directory(folder_ / name); }

    Folder folder_;
    std::string text_ = R"({
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 256},
        "training": {"steps": 1, "global_batch_size": 4},
        "data": {"train": ")" SMP_SOURCE_DIR R"(/configs/data/shakespeare.txt"}})";
    std::string job_ = folder_.write("job.json", text_);
};

TEST_F(SmpTrainOutput, AFolderOfOthersIsLeftAlone) {
    folder_.write("config.json", text_);
    folder_.write("log.txt", "mine");
    expect_refused(train("job.json", "."), "holds other files");
    expect_refused(train("config.json", "."), "would write over config.json, which it reads");
    EXPECT_EQ(read_text(folder_ / "config.json"), text_);
    EXPECT_EQ(read_text(folder_ / "log.txt"), "mine");
    EXPECT_FALSE(std::filesystem::exists(folder_ / ".lock"));

    make("notes");
    folder_.write("notes/a", "mine");
    expect_refused(train("job.json", "notes"), "(a)");
    make("empty");
    EXPECT_EQ(train("job.json", "empty").exit_code, 0);
    EXPECT_EQ(train("job.json", "empty", "--resume never").exit_code, 0);  // a run's by now
}

TEST_F(SmpTrainOutput, LinksAreNotFollowed) {
    ASSERT_EQ(train("job.json", "out").exit_code, 0);
    for (const std::string name : {"log.txt", "metrics.jsonl", "config.json", "plan.json"}) {
        folder_.write("precious", "mine");
        std::filesystem::remove(folder_ / ("out/" + name));
        std::filesystem::create_symlink(folder_ / "precious", folder_ / ("out/" + name));
        const Outcome outcome = train("job.json", "out", "--resume never");
        EXPECT_TRUE(outcome.exit_code == 3 || outcome.exit_code == 0) << name << outcome.output;
        EXPECT_EQ(read_text(folder_ / "precious"), "mine") << name;
        std::filesystem::remove(folder_ / ("out/" + name));
    }
}

TEST_F(SmpTrainOutput, InputsAreNotWrittenOver) {
    ASSERT_EQ(train("job.json", "out").exit_code, 0);
    const std::string record = read_text(folder_ / "out/config.json");
    // The run's own configuration repeats the run; with a change it would be another one's.
    EXPECT_EQ(train("out/config.json", "out", "--resume never").exit_code, 0);
    expect_refused(train("out/config.json", "out", "--resume never --set training.seed=2"),
                   "config.json, which it reads");
    EXPECT_EQ(read_text(folder_ / "out/config.json"), record);
    // Data, under its own name or by a link from elsewhere.
    std::filesystem::copy_file(SMP_SOURCE_DIR "/configs/data/shakespeare.txt", folder_ / "out/log.txt",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::create_symlink(folder_ / "out/log.txt", folder_ / "text.txt");
    for (const std::string name : {"out/log.txt", "text.txt"})
        expect_refused(train("job.json", "out", "--resume never --set data.train=" + name), "which it reads");
    EXPECT_EQ(read_text(folder_ / "out/log.txt"), read_text(SMP_SOURCE_DIR "/configs/data/shakespeare.txt"));
}

TEST_F(SmpTrainOutput, TokenFilesAreNotMadeOutOfThemselves) {
    folder_.write("text.txt", "some text");
    for (const std::string command :
         {"encode text.txt --output text.txt --force", "encode text.txt --output ./text.txt --force",
          "decode --format text text.txt --output text.txt --force"}) {
        const Outcome outcome = run(fmt::format("cd {} && {} {}", folder_ / "", program("smp_data"), command));
        EXPECT_EQ(outcome.exit_code, 2) << command << outcome.output;
        EXPECT_EQ(read_text(folder_ / "text.txt"), "some text");
    }
}

}  // namespace
}  // namespace smp::testing
