// A program whose rank 1 throws while the others wait for it: tests/programs/failing_rank_test.cpp looks at how the job
// ends.
#include <cstring>

#include <ATen/ops/zeros.h>

#include "launch/train/run_ranks.h"
#include "runtime/files/data_error.h"

using namespace smp;

int main(int argc, char** argv) {
    const launch::RankRun run{.program = "throwing_rank", .communicator = {}, .place = [](const comms::Communicator&) {
                                  return "pp 1, tp 0, rdp 0";
                              }};
    const auto body = [](comms::Communicator& world) {
        world.barrier();
        if (world.rank() == 1) throw runtime::DataError("planted: the file is gone");
        at::Tensor never = at::zeros({1});
        world.receive(never, 1).wait();
        return 0;
    };
    if (comms::launched_by_mpi()) return launch::run_under_mpi(run, body);
    return launch::run_as_threads(run, argc > 1 ? std::stoi(argv[1]) : 4, body);
}
