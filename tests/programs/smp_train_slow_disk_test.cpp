// Runs on a disk that takes its time: they wait for it, and whatever ends them in the middle, they go on.
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"
#include "tests/seed.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

class SlowDisk : public ::testing::Test {
  protected:
    SlowDisk() {
        folder_.write("text.txt", read_text(SMP_SOURCE_DIR "/configs/data/shakespeare.txt").substr(0, 50'000));
        folder_.write("job.json", fmt::format(R"({{
            "model": {{"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "vocab_size": 256, "embd_pdrop": 0.1}},
            "parallel": {{"pipeline_parallel_degree": 2, "microbatches": 2}},
            "training": {{"steps": 30, "global_batch_size": 8, "evaluate_every": 10, "evaluation_batches": 1}},
            "data": {{"train": "text.txt", "validation_fraction": 0.1}},
            "checkpoint": {{"every": {}, "keep": 3}}}})",
                                              kEvery));
    }

    std::string command(const std::string& output, const std::string& options = "") const {
        return fmt::format("{} --config {} --output {} {}", program("smp_train"), folder_ / "job.json",
                           folder_ / output, options);
    }
    /// In front of a command: each call that writes takes so long.
    static std::string slow(int milliseconds) {
        return fmt::format("SMP_SLOW_DISK={} LD_PRELOAD={}/bin/libsmp_slow_disk.so ", milliseconds, SMP_BINARY_DIR);
    }
    std::string numbers(const std::string& output) const { return promised(folder_ / (output + "/metrics.jsonl")); }
    std::int64_t steps_recorded(const std::string& output) const {
        const std::string text = read_text(folder_ / (output + "/metrics.jsonl"));
        return std::count(text.begin(), text.end(), '\n');
    }
    /// The newest that is under its name; 0: none.
    std::int64_t newest_checkpoint(const std::string& output) const {
        std::int64_t newest = 0;
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator(folder_ / (output + "/checkpoints"), none)) {
            const std::string name = entry.path().filename();
            if (name.size() == 13) newest = std::max<std::int64_t>(newest, std::stoll(name.substr(5)));
        }
        return newest;
    }

    static constexpr std::int64_t kEvery = 2;
    Folder folder_;
};

// Every rank's own writing and the commit take longer than any wait may, and nobody takes that for a rank that hangs.
TEST_F(SlowDisk, WritingMayTakeLongerThanAnyOtherWait) {
    const std::string options =
        "--set training.steps=2 --set training.evaluate_every=0 --set cluster.timeout_seconds=4 "
        "--set checkpoint.asynchronous=false";
    for (const std::string& start : {std::string(), mpirun(2)}) {
        const Outcome outcome = run(slow(1500) + start + command("a", options + " --resume never"));
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr("waiting for the checkpoint of step 2, which has been written for "));
        EXPECT_EQ(newest_checkpoint("a"), 2);
        EXPECT_EQ(steps_recorded("a"), 2);
    }
}

// kill -9 of a rank, of mpirun, of all ranks at once, at 200 random instants, most of them while a checkpoint is
// written.
TEST_F(SlowDisk, KilledAt200InstantsItGoesOnFromAWholeCheckpointThatIsNotOld) {
    ASSERT_EQ(run(command("straight")).exit_code, 0);
    const std::string straight = numbers("straight");
    std::mt19937 random(seed());
    const auto between = [&](double least, double most) {
        return std::uniform_real_distribution<double>(least, most)(random);
    };
    constexpr int kKills = 200;
    int kills = 0, finished = 0, in_writing = 0;
    while (kills < kKills) {
        const std::string output = fmt::format("run{}", finished);
        // At any time from the start on, or some steps further on.
        const std::string metrics = folder_ / (output + "/metrics.jsonl");
        std::error_code none;
        const std::int64_t before = std::filesystem::exists(metrics, none) ? steps_recorded(output) : 0;
        const std::string instant =
            kills % 2 == 0 ? fmt::format("sleep {:.3f}", between(0, 3))
                           : fmt::format(
                                 "until [ $(cat {} 2>/dev/null | wc -l) -ge {} ] || ! [ -e /proc/$pid ] || "
                                 "grep -qs '^State:.*Z' /proc/$pid/status; do sleep 0.01; done; sleep {:.3f}",
                                 metrics, before + std::uniform_int_distribution<int>(1, 6)(random), between(0, 0.3));
        const int whom = std::uniform_int_distribution<int>(0, 2)(random);
        const std::string start = whom == 2 ? "" : mpirun(2);
        const auto assignments = std::min(start.find("mpirun"), start.size());
        const std::string kill = whom == 0
                                     ? "rank=; for rank in $(cat /proc/$pid/task/*/children 2>/dev/null); do :; done; "
                                       "kill -9 ${rank:-$pid}"
                                     : "kill -9 $pid";
        const Outcome outcome =
            run(fmt::format("{}{} exec {}{} & pid=$!; {}; {} 2>/dev/null; wait $pid", slow(8),
                            start.substr(0, assignments), start.substr(assignments), command(output), instant, kill));
        if (outcome.exit_code == 0) {
            EXPECT_EQ(numbers(output), straight) << output;
            ++finished;
            std::printf("%d kills, %d of them while a checkpoint was written\n", kills, in_writing);
            std::fflush(stdout);
            continue;
        }
        ASSERT_EQ(outcome.exit_code, 137) << outcome.output;
        ++kills;
        // Ranks outlive an mpirun that was killed for a moment, and hold the folder as long.
        EXPECT_EQ(run(fmt::format("! [ -d {0} ] || flock --timeout 60 {0}/.lock true", folder_ / output)).exit_code, 0);
        if (run(fmt::format("ls -d {}/checkpoints/*.partial", folder_ / output)).exit_code == 0) ++in_writing;
        const std::int64_t recorded = std::filesystem::exists(metrics, none) ? steps_recorded(output) : 0;
        const std::int64_t newest = newest_checkpoint(output);
        // Once the line of a step is there, the saves that were due before it are begun, so all but the last are whole.
        EXPECT_GE(newest, ((recorded - 1) / kEvery - 1) * kEvery) << recorded << " steps were recorded";
        if (newest == 0) continue;
        const Outcome whole =
            run(fmt::format("{} verify {}/checkpoints/step_{:08}", program("smp_convert"), folder_ / output, newest));
        EXPECT_EQ(whole.exit_code, 0) << whole.output;
    }
    const std::string output = fmt::format("run{}", finished);
    const Outcome last = run(command(output));
    EXPECT_EQ(last.exit_code, 0) << last.output;
    EXPECT_EQ(numbers(output), straight);
    std::printf("%d kills, %d of them while a checkpoint was written\n", kills, in_writing);
    EXPECT_GE(in_writing, kKills / 4);
}

}  // namespace
}  // namespace smp::testing
