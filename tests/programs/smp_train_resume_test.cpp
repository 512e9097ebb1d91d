// Runs that stop, in every way, and go on: what is in the output directory then.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"
#include "tests/seed.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class SmpTrainResume : public ::testing::Test {
  protected:
    SmpTrainResume() {
        folder_.write("text.txt", read_text(SMP_SOURCE_DIR "/configs/data/shakespeare.txt").substr(0, 50'000));
        folder_.write("job.json", R"({
            "model": {"n_layer": 4, "n_head": 4, "n_embd": 32, "n_positions": 32, "vocab_size": 256, "embd_pdrop": 0.1},
            "parallel": {"pipeline_parallel_degree": 2, "microbatches": 2},
            "training": {"steps": 40, "global_batch_size": 8, "evaluate_every": 10, "evaluation_batches": 1},
            "data": {"train": "text.txt", "validation_fraction": 0.1},
            "checkpoint": {"every": 5, "keep": 3}})");
    }

    std::string command(const std::string& output, const std::string& options = "") const {
        return fmt::format("{} --config {} --output {} {}", program("smp_train"), folder_ / "job.json",
                           folder_ / output, options);
    }
    Outcome train(const std::string& output, const std::string& options = "") const {
        return run(command(output, options));
    }
    /// Runs it and sends `signal` to what `pid` says ("$!": the command itself) once step `step` is recorded.
    Outcome signalled(const std::string& command, const std::string& output, int step,
                      const std::string& signal) const {
        return run(
            fmt::format("{0} & pid=$!; for i in $(seq 3000); do if [ $(cat {1} 2>/dev/null | wc -l) -ge {2} ]; then "
                        "break; fi; sleep 0.01; done; kill -{3} $pid; wait $pid",
                        command, folder_ / (output + "/metrics.jsonl"), step, signal));
    }

    /// What the promise covers of each line.
    std::vector<std::string> numbers(const std::string& output) const {
        std::vector<std::string> lines;
        std::istringstream stream(read_text(folder_ / (output + "/metrics.jsonl")));
        for (std::string line; std::getline(stream, line);) {
            const Json object = Json::parse(line);
            Json kept;
            for (const char* key :
                 {"step", "loss", "grad_norm", "learning_rate", "tokens", "skipped_updates", "validation_loss"})
                if (object.contains(key)) kept[key] = object[key];
            lines.push_back(kept.dump());
        }
        return lines;
    }
    std::vector<std::string> checkpoints(const std::string& output) const {
        std::vector<std::string> names;
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator(folder_ / (output + "/checkpoints"), none))
            names.push_back(entry.path().filename());
        std::sort(names.begin(), names.end());
        return names;
    }
    /// Long steps, so that signals meet a run in its middle.
    static constexpr const char* kLong = "--set training.global_batch_size=256";

    Folder folder_;
};

TEST_F(SmpTrainResume, AFinishedRunIsLeftAloneAndNeverLost) {
    ASSERT_EQ(train("a").exit_code, 0);
    EXPECT_THAT(checkpoints("a"), ElementsAre("step_00000030", "step_00000035", "step_00000040"));
    const auto first = numbers("a");
    ASSERT_EQ(first.size(), 40U);

    const Outcome again = train("a");
    EXPECT_EQ(again.exit_code, 0);
    EXPECT_THAT(again.output, HasSubstr("holds this run, finished: 40 steps"));

    const Outcome other = train("a", "--set training.seed=2");
    EXPECT_EQ(other.exit_code, 2);
    EXPECT_THAT(other.output,
                AllOf(HasSubstr("training.seed: 1 -> 2"), HasSubstr("--resume never"), HasSubstr("--output")));
    EXPECT_EQ(numbers("a"), first);

    ASSERT_EQ(train("a", "--resume never --set training.seed=2 --set training.steps=3 --set checkpoint.export=true")
                  .exit_code,
              0);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "a/model/model.safetensors"));
    // What a finished run promises is there when it is asked again.
    std::filesystem::remove_all(folder_ / "a/model");
    EXPECT_EQ(train("a", "--set training.seed=2 --set training.steps=3 --set checkpoint.export=true").exit_code, 0);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "a/model/config.json"));
    EXPECT_EQ(numbers("a").size(), 3U);
    EXPECT_EQ(numbers("a/earlier/1"), first);
    EXPECT_THAT(checkpoints("a"), ElementsAre("step_00000003"));
    EXPECT_THAT(checkpoints("a/earlier/1"), ElementsAre("step_00000030", "step_00000035", "step_00000040"));

    // A run's end is its last checkpoint: without it the run goes on from the one before.
    std::filesystem::remove_all(folder_ / "a/earlier/1/checkpoints/step_00000040");
    const Outcome on = train("b", "--resume " + folder_ / "a/earlier/1");
    EXPECT_EQ(on.exit_code, 0) << on.output;
    EXPECT_THAT(on.output, HasSubstr("goes on after step 35"));
    EXPECT_EQ(numbers("b"), std::vector<std::string>(first.begin() + 35, first.end()));
}

TEST_F(SmpTrainResume, StoppedBySignalsItGoesOnWithTheSameNumbers) {
    ASSERT_EQ(train("straight", kLong).exit_code, 0);
    // Threads as ranks: TERM and INT; processes: USR2, which mpirun forwards. On with processes, other stages, threads.
    const Outcome term = signalled(command("a", kLong), "a", 3, "TERM");
    EXPECT_EQ(term.exit_code, 0) << term.output;
    EXPECT_THAT(term.output, HasSubstr("SIGTERM after step "));
    const auto stopped = numbers("a").size();
    EXPECT_LT(stopped, 40U);
    EXPECT_GE(stopped, 3U);

    const Outcome usr2 = signalled(mpirun(2) + command("a", kLong), "a", static_cast<int>(stopped) + 3, "USR2");
    EXPECT_EQ(usr2.exit_code, 0) << usr2.output;
    EXPECT_THAT(usr2.output, HasSubstr(fmt::format("goes on after step {} ", stopped)));
    EXPECT_LT(numbers("a").size(), 40U);

    const Outcome interrupted =
        signalled(command("a", std::string(kLong) + " --set parallel.pipeline_parallel_degree=4 --ranks 4"), "a",
                  static_cast<int>(numbers("a").size()) + 3, "INT");
    EXPECT_EQ(interrupted.exit_code, 0) << interrupted.output;
    EXPECT_THAT(interrupted.output, HasSubstr("parallel.pipeline_parallel_degree: 2 -> 4"));

    EXPECT_EQ(train("a", kLong).exit_code, 0);
    EXPECT_EQ(numbers("a"), numbers("straight"));
}

TEST_F(SmpTrainResume, ASecondTermEndsItAtOnce) {
    // Half a minute a step.
    const std::string longest = command("a", "--set training.global_batch_size=65536 --set parallel.microbatches=4096");
    const std::string term = fmt::format(
        "0 $pid; until [ -e {} ]; do sleep 0.01; done; sleep 0.5; kill -TERM $pid; sleep 0.5; "
        "grep -q '^State:.*Z' /proc/$pid/status && exit 99; kill -TERM",
        folder_ / "a/metrics.jsonl");
    const Outcome outcome = signalled("exec " + longest, "a", 0, term);
    EXPECT_EQ(outcome.exit_code, 128 + SIGTERM) << outcome.output;
}

TEST_F(SmpTrainResume, OnUsr1ItWritesACheckpointAndGoesOn) {
    const std::string options = std::string(kLong) + " --set checkpoint.every=0 --set checkpoint.keep=9";
    const Outcome local = signalled(command("a", options), "a", 3, "USR1");
    EXPECT_EQ(local.exit_code, 0) << local.output;
    EXPECT_EQ(checkpoints("a").size(), 2U);
    const Outcome ranks = signalled(mpirun(2) + command("b", options), "b", 3, "USR1");
    EXPECT_EQ(ranks.exit_code, 0) << ranks.output;
    EXPECT_EQ(checkpoints("b").size(), 2U);
}

TEST_F(SmpTrainResume, WhatIsNotWholeIsPassedOverAndNamed) {
    ASSERT_EQ(train("a").exit_code, 0);
    const auto straight = numbers("a");
    const auto damage = [&](const std::string& step) {
        const std::string file = folder_ / ("a/checkpoints/" + step + "/rank_00001.safetensors");
        std::string bytes = read_text(file);
        bytes.back() = static_cast<char>(bytes.back() ^ 16);
        std::ofstream(file, std::ios::binary) << bytes;
    };
    damage("step_00000040");
    std::filesystem::remove(folder_ / "a/checkpoints/step_00000035/manifest.json");
    const Outcome on = train("a", "--resume " + folder_ / "a");
    EXPECT_EQ(on.exit_code, 0) << on.output;
    EXPECT_THAT(on.output, AllOf(HasSubstr("step_00000040 is passed over: "), HasSubstr("rank_00001.safetensors"),
                                 HasSubstr("step_00000035 is passed over: "), HasSubstr("goes on after step 30")));
    EXPECT_EQ(numbers("a"), straight);

    for (const std::string& step : checkpoints("a")) damage(step);
    const Outcome none = train("a", "--set training.steps=50 --resume " + folder_ / "a");
    EXPECT_EQ(none.exit_code, 3) << none.output;
    EXPECT_EQ(none.count("smp_train: error:"), 1) << none.output;
    EXPECT_THAT(none.output, AllOf(HasSubstr("no checkpoint is whole"), HasSubstr("--resume never")));
    EXPECT_EQ(train("a", "--resume " + folder_ / "text.txt").exit_code, 2);
}

TEST_F(SmpTrainResume, ACheckpointThatCannotBeWrittenIsSaidAtOnceAndAtTheEnd) {
    folder_.write("full", "");
    const std::string options =
        fmt::format("--set checkpoint.directory={} --set checkpoint.asynchronous=false", folder_ / "full/x");
    for (const std::string& launcher : {std::string(), mpirun(2)}) {
        const Outcome outcome = run(launcher + command("a", options));
        EXPECT_EQ(outcome.exit_code, 6) << outcome.output;
        EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
        EXPECT_THAT(outcome.output, AllOf(HasSubstr("warning: step 5 could not be saved, training goes on: "),
                                          HasSubstr("training is done, but its last checkpoint is not there: ")));
        EXPECT_EQ(numbers("a").size(), 40U);
    }
}

// Killed again and again, ranks or all of it, at instants of which many lie in the writing of a checkpoint.
TEST_F(SmpTrainResume, KilledAtAnyInstantItGoesOnAndEndsWithTheSameNumbers) {
    const std::string longer = "--set training.global_batch_size=32";
    ASSERT_EQ(train("straight", longer).exit_code, 0);
    std::mt19937 random(seed());
    const std::string options = longer + " --set checkpoint.every=1";
    int kills = 0;
    for (int attempt = 0; attempt < 8; ++attempt) {
        const bool by_mpi = attempt % 2 == 1;
        // Once another one to three steps are recorded, and a moment later.
        std::error_code none;
        const auto done = std::filesystem::exists(folder_ / "a/metrics.jsonl", none) ? numbers("a").size() : 0;
        const std::string instant = fmt::format(
            "for i in $(seq 3000); do if [ $(cat {} 2>/dev/null | wc -l) -ge {} ]; then break; fi; sleep 0.01; done; "
            "sleep {:.3f}",
            folder_ / "a/metrics.jsonl", done + std::uniform_int_distribution<std::size_t>(1, 3)(random),
            std::uniform_real_distribution<double>(0, 0.03)(random));
        // One rank of two; mpirun, whose ranks must follow; the process with all ranks.
        const std::string kill = attempt % 4 == 1
                                     ? "for rank in $(cat /proc/$pid/task/*/children); do :; done; kill -9 $rank"
                                     : "kill -9 $pid";
        const std::string start = by_mpi ? mpirun(2) : std::string();
        const auto assignments = start.find("mpirun");
        if (attempt > 0) {
            EXPECT_EQ(run(fmt::format("flock --timeout 60 {} true", folder_ / "a/.lock")).exit_code, 0);
        }
        const Outcome outcome = run(fmt::format(
            "{} exec {}{} & pid=$!; {}; {} 2>/dev/null; wait $pid", by_mpi ? start.substr(0, assignments) : "",
            by_mpi ? start.substr(assignments) : "", command("a", options), instant, kill));
        if (outcome.exit_code == 0) break;  // it was done before
        EXPECT_EQ(outcome.exit_code, 137) << outcome.output;
        ++kills;
        EXPECT_GE(checkpoints("a").size(), 1U);
    }
    EXPECT_GE(kills, 4);
    // Ranks outlive an mpirun that was killed for a moment, and hold the folder as long.
    EXPECT_EQ(run(fmt::format("flock --timeout 60 {} true", folder_ / "a/.lock")).exit_code, 0);
    const Outcome last = train("a", options);
    EXPECT_EQ(last.exit_code, 0) << last.output;
    EXPECT_EQ(numbers("a"), numbers("straight"));
}

}  // namespace
}  // namespace smp::testing
