// If these fail, a node has no log of its own, or one that tells of other nodes.
#include "runtime/records/node_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/records/console.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// Two ranks on each of two hosts.
std::vector<RankPlace> four_places() {
    std::vector<RankPlace> places;
    for (int rank = 0; rank < 4; ++rank)
        places.push_back({.rank = rank,
                          .host = rank < 2 ? "alpha" : "beta",
                          .process = 40 + rank,
                          .device = "cpu",
                          .coordinate = "here",
                          .cores = {rank % 2},
                          .host_cores = 2,
                          .threads = rank == 3 ? 2 : 1});
    return places;
}

TEST(NodeLog, IsOfTheFirstRankOfEachOfSeveralHosts) {
    const auto places = four_places();
    EXPECT_TRUE(writes_node_log(places, 0));
    EXPECT_FALSE(writes_node_log(places, 1));
    EXPECT_TRUE(writes_node_log(places, 2));
    EXPECT_FALSE(writes_node_log(places, 3));
    EXPECT_FALSE(writes_node_log(std::span(places).first(2), 0));
}

TEST(NodeLog, TellsOfItsOwnNode) {
    const testing::ScratchFolder folder;
    Job job;
    job.training.steps = 5;
    job.logging.every = 2;
    const partition::Plan plan;
    const partition::ModuleGraph graph;
    {
        NodeLog log(folder.path());
        log.started({.job = job, .plan = plan, .graph = graph, .at = {}, .rank = 2, .places = four_places()});
        for (std::int64_t step = 1; step <= 5; ++step) {
            StepRecord record;
            record.step = step;
            record.ranks.resize(4);
            record.ranks[2] = {.seconds = 0.25, .wait_seconds = 0.125, .node_memory_bytes = 3 << 20};
            record.ranks[3].resident_bytes = 1 << 20;
            record.straggler_rank = 3;
            log.stepped(record);
        }
    }
    EXPECT_EQ(
        testing::content(folder / "log.beta.txt"),
        "node beta: ranks 2-3 in 2 processes, cores 0-1 of 2, 3 threads\n"
        "rank 2 on beta: process 42, device cpu, cores 0 of 2, 1 thread, here\n"
        "rank 3 on beta: process 43, device cpu, cores 1 of 2, 2 threads, here\n"
        "warning: rank 3 on beta computes with 2 threads on 1 core (cores 1 of 2): bind wider (mpirun --bind-to "
        "none, or --map-by slot:PE=N with N cores a rank; srun --cpus-per-task), or set cluster.threads_per_rank "
        "lower\n" +
            [] {
                std::string lines;
                for (const int step : {1, 2, 4, 5})
                    lines += "step " + std::to_string(step) +
                             " | node memory 3.00 MiB | rank 2: 250.0 ms, waited 125.0 ms | rank 3: 0.0 ms, "
                             "waited 0.0 ms, 1.00 MiB resident, a straggler\n";
                return lines;
            }());
}

TEST(LogHead, IsWhereTheRankIsAndOnRankZeroALineANode) {
    const testing::ScratchFolder folder;
    const Job job;
    const partition::Plan plan;
    const partition::ModuleGraph graph;
    const auto head = [&](int rank) {
        Console console({.log = folder / "log.txt", .results = ""});
        console.started({.job = job, .plan = plan, .graph = graph, .at = {}, .rank = rank, .places = four_places()});
        return testing::content(folder / "log.txt");
    };
    EXPECT_THAT(head(3), AllOf(StartsWith("rank 3 on beta: process 43, device cpu, cores 1 of 2, 2 threads, here\n"),
                               Not(HasSubstr("node "))));
    EXPECT_THAT(head(0), StartsWith("rank 0 on alpha: process 40, device cpu, cores 0 of 2, 1 thread, here\n"
                                    "node alpha: ranks 0-1 in 2 processes, cores 0-1 of 2, 2 threads\n"
                                    "node beta: ranks 2-3 in 2 processes, cores 0-1 of 2, 3 threads\n"));
}

}  // namespace
}  // namespace smp::runtime
