// A program whose rank 1 fails while the others wait for it: tests/programs/failing_rank_test.cpp looks at how the job
// ends.
//
//     throwing_rank HOW LOG [RANKS]
//
// HOW: throws, is_held_up (in a call that does not come back: its watch fails for it), or holds_up (it throws, and rank
// 2 is in such a call).
#include <chrono>
#include <string>
#include <string_view>
#include <unistd.h>

#include <ATen/ops/zeros.h>

#include "launch/train/last_words.h"
#include "launch/train/life_line.h"
#include "launch/train/run_ranks.h"
#include "runtime/execution/step_watch.h"
#include "runtime/files/data_error.h"
#include "runtime/stage/device_watch.h"

using namespace smp;

namespace {

constexpr const char* kProgram = "throwing_rank";

[[noreturn]] void stay() {
    for (;;) ::pause();
}

/// What a training has around a rank's calls of CUDA.
int wait_watched(comms::Communicator& world, const launch::TellFailure& tell_failure) {
    const auto topology = partition::make_topology({.rdp = world.size()}, "cluster");
    launch::LifeLine life_line(world, runtime::places_of_ranks(world, topology, "cpu"),
                               [](const std::string& lost) { launch::tell_log(kProgram, lost); });
    runtime::RankGroups groups;
    groups.world = &world;
    groups.tensor = world.split(0, world.rank(), "tensor");
    const auto on_failure = [&](const std::exception& error) {
        life_line.fail();
        tell_failure(error);
    };
    runtime::DeviceWatch watch(groups, {.limit = std::chrono::milliseconds(500),
                                        .limit_key = "the limit",
                                        .doing = [] { return std::string("a planted call"); },
                                        .on_failure = on_failure});
    const runtime::DeviceWatch::Scope at_work(world.rank() == 1 ? &watch : nullptr, "step 2");
    if (world.rank() == 1) stay();
    at::Tensor never = at::zeros({1});
    world.receive(never, 1).wait();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    const std::string_view how = argv[1];
    launch::keep_last_words_in(argv[2]);
    const launch::RankRun run{.program = kProgram, .communicator = {}, .place = [](const comms::Communicator&) {
                                  return "pp 1, tp 0, rdp 0";
                              }};
    const auto body = [&](comms::Communicator& world, const launch::TellFailure& tell_failure) {
        world.barrier();
        if (how == "is_held_up") return wait_watched(world, tell_failure);
        at::Tensor never = at::zeros({1});
        if (how == "holds_up" && world.rank() == 2) {
            const comms::Work here = world.send(never, 1);
            stay();
        }
        if (how == "holds_up" && world.rank() == 1) world.receive(never, 2).wait();  // it waits for nothing any more
        if (world.rank() == 1) throw runtime::DataError("planted: the file is gone");
        world.receive(never, 1).wait();
        return 0;
    };
    if (comms::launched_by_mpi()) return launch::run_under_mpi(run, body);
    return launch::run_as_threads(run, argc > 3 ? std::stoi(argv[3]) : 4, body);
}
