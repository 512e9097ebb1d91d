// gtest's main with MPI around it where mpirun started this process: then every process runs every test and takes its
// part in it, and only rank 0 tells what passed.
#include <cstdio>

#include <ATen/Parallel.h>

#include "tests/comms/faults.h"
#include "tests/comms/worlds.h"
#include "tests/seed.h"

namespace {

class OnlyFailures : public testing::EmptyTestEventListener {
    void OnTestPartResult(const testing::TestPartResult& result) override {
        if (result.failed())
            std::fprintf(stderr, "%s:%d: %s\n", result.file_name(), result.line_number(), result.summary());
    }
};

}  // namespace

int main(int argc, char** argv) {
    at::set_num_threads(1);
    if (argc == 3 && std::string(argv[1]) == "--fault") return smp::comms::run_fault(argv[2]);
    testing::InitGoogleTest(&argc, argv);
    auto& world = smp::comms::mpi_world_of_process();
    if (smp::comms::launched_by_mpi()) world = smp::comms::mpi_world({.limit = {std::chrono::minutes(2)}});
    if (world && world->rank() > 0) {
        auto& listeners = testing::UnitTest::GetInstance()->listeners();
        delete listeners.Release(listeners.default_result_printer());
        listeners.Append(new OnlyFailures);
    }
    if (!testing::GTEST_FLAG(list_tests) && (!world || world->rank() == 0)) smp::testing::announce_seed();
    const int result = RUN_ALL_TESTS();
    world.reset();
    return result;
}
