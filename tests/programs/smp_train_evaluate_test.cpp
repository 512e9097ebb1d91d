// smp_train --evaluate: the number that the training has written, from its checkpoint.
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SmpTrainEvaluate : public ::testing::Test {
  protected:
    SmpTrainEvaluate() {
        folder_.write("text.txt", read_text(SMP_SOURCE_DIR "/configs/data/shakespeare.txt").substr(0, 50'000));
        folder_.write("job.json", R"({
            "model": {"n_layer": 4, "n_head": 4, "n_embd": 32, "n_positions": 32, "vocab_size": 256, "embd_pdrop": 0.1},
            "parallel": {"pipeline_parallel_degree": 2, "microbatches": 2},
            "training": {"steps": 20, "global_batch_size": 8, "evaluate_every": 10, "evaluation_batches": 3},
            "data": {"train": "text.txt", "validation_fraction": 0.1},
            "checkpoint": {"every": 10}})");
    }
    std::string command(const std::string& options = "") const {
        return fmt::format("{} --config {} --output {} {}", program("smp_train"), folder_ / "job.json", folder_ / "run",
                           options);
    }
    /// What an evaluation prints: as text, by the names of the rows.
    static std::map<std::string, std::string> rows(const Outcome& outcome) {
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        std::map<std::string, std::string> rows;
        std::istringstream lines(outcome.output);
        for (std::string line; std::getline(lines, line);) {
            const auto bar = line.find(" | ");
            if (bar != std::string::npos)
                rows[line.substr(0, line.find_last_not_of(' ', bar) + 1)] = line.substr(bar + 3);
        }
        return rows;
    }
    /// Of metrics.jsonl, as text.
    std::string written_loss(int step) const {
        std::istringstream lines(read_text(folder_ / "run/metrics.jsonl"));
        const std::string key = "\"validation_loss\":";
        for (std::string line; std::getline(lines, line);)
            if (line.starts_with(fmt::format("{{\"step\":{},", step)) && line.find(key) != std::string::npos) {
                const std::size_t begin = line.find(key) + key.size();
                return line.substr(begin, line.find_first_of(",}", begin) - begin);
            }
        return "none";
    }
    /// Names, sizes and times of everything in the output directory.
    std::string state_of_run() const { return run("cd " + (folder_ / "run") + " && ls -lAR --full-time .").output; }

    Folder folder_;
};

TEST_F(SmpTrainEvaluate, GivesTheNumberThatTheTrainingHasWritten) {
    ASSERT_EQ(run(command()).exit_code, 0);
    const std::string before = state_of_run();
    ASSERT_THAT(before, HasSubstr("step_00000010"));
    const std::string first = folder_ / "run/checkpoints/step_00000010";

    auto newest = rows(run(command("--evaluate")));
    EXPECT_EQ(newest["validation loss"], written_loss(20));
    EXPECT_EQ(newest["step"], "20");
    EXPECT_EQ(newest["checkpoint"], folder_ / "run/checkpoints/step_00000020");
    EXPECT_EQ(newest.count("changed since"), 0U);
    auto older = rows(run(command("--evaluate --resume " + first)));
    EXPECT_EQ(older["validation loss"], written_loss(10));
    EXPECT_NE(written_loss(10), written_loss(20));
    // Layouts of the same arithmetic, as processes too.
    auto processes = rows(run(mpirun(4) + command("--evaluate --set parallel.pipeline_parallel_degree=4")));
    EXPECT_EQ(processes["validation loss"], written_loss(20));
    EXPECT_THAT(processes["changed since"], HasSubstr("parallel.pipeline_parallel_degree: 2 -> 4"));
    // Others: the same loss, but for digits.
    auto tensor = rows(run(command("--evaluate --set parallel.tensor_parallel_degree=2")));
    EXPECT_NEAR(std::stod(tensor["validation loss"]), std::stod(written_loss(20)), 1e-5);
    // Of the weights before the first step.
    auto initial = rows(run(command("--evaluate --resume never")));
    EXPECT_EQ(initial["checkpoint"], "none: initial weights");
    EXPECT_EQ(initial["step"], "0");
    EXPECT_GT(std::stod(initial["validation loss"]), std::stod(written_loss(10)));
    EXPECT_EQ(state_of_run(), before);
}

TEST_F(SmpTrainEvaluate, WhatCannotBeEvaluatedIsSaid) {
    const auto refused = [&](const std::string& options, int code, const std::string& part) {
        const Outcome outcome = run(command("--evaluate " + options));
        EXPECT_EQ(outcome.exit_code, code) << options << outcome.output;
        EXPECT_THAT(outcome.output, AllOf(StartsWith("smp_train: error: "), HasSubstr(part)));
        EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
    };
    refused("", 3, "has no checkpoint to evaluate");
    refused("--resume " + (folder_ / "none"), 2, "--resume is");
    refused("--dry-run", 2, "--evaluate and --dry-run are both given");
    refused("--set data.validation_fraction=0 --set training.evaluate_every=0", 2, "--evaluate has no validation data");
}

}  // namespace
}  // namespace smp::testing
