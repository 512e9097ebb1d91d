// Launchers that are none of this program's MPI: without a word, each of their processes would train for itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using ::testing::HasSubstr;

class SmpTrainLauncher : public ::testing::Test {
  protected:
    std::string train(const std::string& environment, const std::string& options) const {
        return fmt::format("env {} {} --config {} --output {} {}", environment, program("smp_train"), job_,
                           folder_ / "out", options);
    }

    Folder folder_;
    std::string job_ = folder_.write("job.json", R"({
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 256},
        "training": {"steps": 1, "global_batch_size": 4},
        "data": {"train": ")" SMP_SOURCE_DIR R"(/configs/data/shakespeare.txt"}})");
};

/// One error for all processes, by the environment's rank 0, before anything is written.
TEST_F(SmpTrainLauncher, AnotherWorldThanTheEnvironmentsIsRefusedOnce) {
    for (const auto& [size, rank] :
         {std::pair{"WORLD_SIZE", "RANK"}, {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}, {"PMI_SIZE", "PMI_RANK"}}) {
        SCOPED_TRACE(size);
        const Outcome first = run(train(fmt::format("{}=4 {}=0", size, rank), ""));
        EXPECT_EQ(first.exit_code, 2) << first.output;
        EXPECT_EQ(first.count("smp_train: error:"), 1) << first.output;
        for (const std::string& part :
             {fmt::format("{}=4", size), std::string("--launcher none"), std::string("srun --mpi=pmix")})
            EXPECT_THAT(first.output, HasSubstr(part));
        const Outcome second = run(train(fmt::format("{}=4 {}=1", size, rank), ""));
        EXPECT_EQ(second.exit_code, 2) << second.output;
        EXPECT_EQ(second.output, "");
        EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
    }
}

TEST_F(SmpTrainLauncher, NoneIsLocalModeInsideALaunchersShell) {
    for (const std::string environment :
         {"WORLD_SIZE=4 RANK=1", "OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=0", "PMI_SIZE=2 PMI_RANK=0"}) {
        const Outcome outcome = run(train(environment, "--launcher none --ranks 2 --resume never"));
        EXPECT_EQ(outcome.exit_code, 0) << environment << "\n" << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr("threads of one process")) << environment;
    }
}

/// A batch script's allocation, a world of one and MPI's own world contradict nothing.
TEST_F(SmpTrainLauncher, WhatStatesTheSameWorldIsNoContradiction) {
    for (const std::string environment :
         {"SLURM_NTASKS=4 SLURM_PROCID=0", "WORLD_SIZE=1 RANK=0", "WORLD_SIZE=x RANK=0"})
        EXPECT_EQ(run(train(environment, "--resume never")).exit_code, 0) << environment;
    const Outcome under_mpi = run("export WORLD_SIZE=7 RANK=3; " + mpirun(2) + train("", "--resume never"));
    EXPECT_EQ(under_mpi.exit_code, 0) << under_mpi.output;
}

/// All of them are on one host here.
TEST_F(SmpTrainLauncher, NodesThatAreStatedAndAreNotTheHostsAreRefusedOnce) {
    const std::string stated = "--set cluster.nodes=2 --set data.validation_fraction=0.1 --resume never";
    for (const std::string& command : {train("", "--ranks 4 " + stated), train("", "--ranks 4 --evaluate " + stated),
                                       mpirun(4) + train("", stated)}) {
        SCOPED_TRACE(command);
        const Outcome outcome = run(command);
        EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
        EXPECT_EQ(outcome.count("smp_train: error: cluster.nodes = 2: "), 1) << outcome.output;
        EXPECT_THAT(outcome.output, HasSubstr("2 on each"));
        EXPECT_THAT(outcome.output, HasSubstr(" (0-3);"));
        EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
    }
}

TEST_F(SmpTrainLauncher, MpiWithoutALauncherIsAWorldOfOne) {
    const Outcome outcome =
        run("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 " + train("", "--launcher=mpi --resume never"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_EQ(run(train("", "--launcher slurm")).exit_code, 2);
}

}  // namespace
}  // namespace smp::testing
