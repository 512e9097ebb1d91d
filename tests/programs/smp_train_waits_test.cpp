// What a user sees when a rank does not come, stops answering or runs out of memory, and when a signal arrives: one
// message that names the rank to look at, soon, and a code.
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

class SmpTrainWaits : public ::testing::Test {
  protected:
    static Json config() {
        return {{"model", {{"n_layer", 4}, {"n_head", 4}, {"n_embd", 32}, {"n_positions", 32}, {"vocab_size", 256}}},
                {"parallel", {{"pipeline_parallel_degree", 2}, {"tensor_parallel_degree", 2}, {"microbatches", 2}}},
                {"training", {{"steps", 100000}, {"global_batch_size", 16}}},
                {"data", {{"train", std::string(SMP_SOURCE_DIR) + "/configs/data/shakespeare.txt"}}}};
    }
    std::string command(const Json& job, const std::string& options = "", const std::string& output = "out") const {
        return fmt::format("{} --config {} --output {} {}", program("smp_train"), folder_.write("job.json", job.dump()),
                           folder_ / output, options);
    }
    std::string log(const std::string& output = "out") const { return read_text(folder_ / (output + "/log.txt")); }
    /// A shell's: until so many steps are recorded.
    std::string until_step(int step, const std::string& output = "out") const {
        return fmt::format(
            "for i in $(seq 6000); do if [ $(cat {} 2>/dev/null | wc -l) -ge {} ]; then break; fi; sleep 0.01; done; ",
            folder_ / (output + "/metrics.jsonl"), step);
    }

    Folder folder_;
};

constexpr const char* kTimeOfDay = "[0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+ UTC ";

TEST_F(SmpTrainWaits, AStoppedProcessIsNamedByTheRanksThatWaitForIt) {
    // World rank 2 is pp 1, tp 0. Its process writes its number, so that it can be stopped.
    const std::string wrapper =
        fmt::format("sh -c '[ \"$OMPI_COMM_WORLD_RANK\" = 2 ] && echo $$ > {}; exec \"$@\"' ", folder_ / "pid");
    const Outcome outcome = run(fmt::format("( {} kill -STOP $(cat {}) ) & {}{} sh {}", until_step(3), folder_ / "pid",
                                            mpirun(4), wrapper, command(config(), "--set cluster.timeout_seconds=2")));
    EXPECT_EQ(outcome.exit_code, 4) << outcome.output;
    EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
    const auto names_the_root =
        AllOf(ContainsRegex("waits for rank 2.*: rank 2 \\(pp 1, tp 0, rdp 0, on [^ ]+, process [0-9]+\\), which does "
                            "not answer"),
              HasSubstr(" did not complete within 2 s (cluster.timeout_seconds), in step "),
              HasSubstr("raise cluster.timeout_seconds"), ContainsRegex("in step [0-9]+: [a-zA-Z]"),
              Not(HasSubstr("I am rank")));
    EXPECT_THAT(outcome.output, names_the_root);
    EXPECT_THAT(log(), AllOf(names_the_root, ContainsRegex(std::string(kTimeOfDay) + "smp_train: error: rank ")));
}

TEST_F(SmpTrainWaits, AProcessThatNeverStartsIsNamed) {
    const std::string wrapper = "sh -c '[ \"$OMPI_COMM_WORLD_RANK\" = 1 ] && exec sleep 600; exec \"$@\"' ";
    const Outcome outcome =
        run(mpirun(4) + wrapper + "sh " + command(config(), "--set cluster.startup_timeout_seconds=3"));
    EXPECT_EQ(outcome.exit_code, 4) << outcome.output;
    EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
    EXPECT_THAT(outcome.output,
                HasSubstr("waits for MPI's start since 3 s (cluster.startup_timeout_seconds): rank 1 of "
                          "4 has not come"));
}

/// Every rank that reads tokens meets it in the same step.
TEST_F(SmpTrainWaits, ATokenThatTheModelHasNotIsOneMessageWithTheStep) {
    auto job = config();
    // Too large to be searched when it is opened, and of its samples only every eighth is looked at before the first
    // step; 33 is of step 3. All zeros but there.
    const std::string file = folder_.write("tokens.bin", "");
    std::filesystem::resize_file(file, 2 * 32 * ((std::uintmax_t{1} << 20) + 16));
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(2 * (33 * 32 + 16)) << "\x7f\x7f";
    job["data"] = {{"train", file}, {"order", "sequential"}};
    for (const std::string& launcher : {std::string(), mpirun(4)}) {
        const Outcome outcome = run(launcher + command(job, "--resume never"));
        EXPECT_EQ(outcome.exit_code, 3) << outcome.output;
        EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr(": step 3: "));
        EXPECT_THAT(log(), ContainsRegex(std::string(kTimeOfDay) + "smp_train: error: rank [0-9].*: step 3: "));
    }
}

TEST_F(SmpTrainWaits, ASignalLeavesOneLineWithTheLastStep) {
    auto job = config();
    job["parallel"] = Json::object();
    for (const std::string signal : {"TERM", "INT", "HUP", "USR2"}) {
        const Outcome outcome = run(fmt::format("{} & pid=$!; {} kill -{} $pid; wait $pid", command(job, "", signal),
                                                until_step(2, signal), signal));
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(outcome.count("SIG" + signal), 1) << outcome.output;
        EXPECT_THAT(log(signal), ContainsRegex("SIG" + signal + " after step [0-9]+: stops with a checkpoint"));
    }
    const Outcome asked = run(fmt::format("{} & pid=$!; {} kill -USR1 $pid; {} kill -TERM $pid; wait $pid",
                                          command(job), until_step(2), until_step(20)));
    EXPECT_EQ(asked.exit_code, 0) << asked.output;
    EXPECT_EQ(asked.count("SIGUSR1"), 1) << asked.output;
    EXPECT_THAT(log(), ContainsRegex("SIGUSR1 after step [0-9]+: saves a checkpoint"));
}

/// In a step of half a minute.
TEST_F(SmpTrainWaits, ASecondSignalEndsItAtOnceWithALine) {
    auto job = config();
    job["parallel"] = {{"microbatches", 4096}};
    job["training"]["global_batch_size"] = 65536;
    const Outcome outcome =
        run(fmt::format("exec {} & pid=$!; until [ -e {} ]; do sleep 0.01; done; sleep 0.5; kill "
                        "-TERM $pid; sleep 0.5; kill -HUP $pid; wait $pid",
                        command(job), folder_ / "out/metrics.jsonl"));
    EXPECT_EQ(outcome.exit_code, 128 + SIGHUP) << outcome.output;
    EXPECT_EQ(outcome.count("smp_train: ended by SIGHUP before the first step"), 1) << outcome.output;
    EXPECT_THAT(log(), ContainsRegex(std::string(kTimeOfDay) + "smp_train: ended by SIGHUP before the first step"));
}

TEST_F(SmpTrainWaits, ADryRunOfAModelThatNoMachineHoldsIsPlannedAndPriced) {
    Json job = {{"model", {{"preset", "gpt2-10b"}}},
                {"parallel", {{"pipeline_parallel_degree", 8}, {"tensor_parallel_degree", 8}, {"microbatches", 16}}},
                {"training", {{"steps", 10}, {"global_batch_size", 32}}},
                {"data", {{"train", folder_ / "nowhere.bin"}}}};
    const Outcome priced = run("ulimit -v 8000000; " + command(job, "--dry-run --ranks 128"));
    EXPECT_EQ(priced.exit_code, 0) << priced.output;
    EXPECT_THAT(priced.output, AllOf(HasSubstr("Peak memory of a rank"), HasSubstr("a step takes "),
                                     HasSubstr("warning: the job does not fit this machine: its 128 ranks")));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));

    const Outcome refused = run(command(job, "--ranks 128 --set cluster.threads_per_rank=1"));
    EXPECT_EQ(refused.exit_code, 5) << refused.output;
    EXPECT_EQ(refused.count("smp_train: error:"), 1) << refused.output;
    EXPECT_THAT(refused.output, ContainsRegex("its 128 ranks, threads of one process, need [0-9.]+ [GT]iB at their "
                                              "peaks, and [0-9.]+ [KMGT]iB are available here; start them as "));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(SmpTrainWaits, AnAllocationThatTheSystemRefusesIsASentence) {
    auto job = config();
    job["model"]["n_embd"] = 2048;  // 2 GiB a rank; the program alone takes between one and three of addresses
    job["parallel"] = {{"pipeline_parallel_degree", 2}};
    const Outcome outcome = run("ulimit -v 3500000; " + command(job, "--set cluster.threads_per_rank=1"));
    EXPECT_EQ(outcome.exit_code, 5) << outcome.output;
    EXPECT_EQ(outcome.count("smp_train: error:"), 1) << outcome.output;
    EXPECT_THAT(
        outcome.output,
        AllOf(ContainsRegex("error: rank [01], pp [01], tp 0, rdp 0: out of memory before or between steps: the system "
                            "refuses [0-9.]+ MiB more for (parameters|gradients|optimizer); "),
              Not(HasSubstr("c10")), Not(HasSubstr("frame #"))));
}

}  // namespace
}  // namespace smp::testing
