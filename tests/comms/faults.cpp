#include "tests/comms/faults.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <signal.h>
#include <thread>
#include <unistd.h>

#include <ATen/ATen.h>

#include "comms/communicator.h"

namespace smp::comms {

namespace {

using std::chrono::milliseconds;

struct Fault {
    milliseconds timeout;
    std::function<void(Communicator&)> body;
};

void wait_forever(Communicator& world) { world.receive(at::empty({1024}), world.rank() == 0 ? 1 : 0).wait(); }
void stay_elsewhere() { std::this_thread::sleep_for(std::chrono::minutes(10)); }

void exchange_sums(Communicator& world) {
    for (int round = 0; round < 20; ++round) {
        const at::Tensor sum = at::full({20'000}, world.rank(), at::kInt);
        all_reduce(world, sum).wait();
        if (sum[round].item<int>() != world.size() * (world.size() - 1) / 2) throw std::runtime_error("a wrong sum");
    }
}

void exchange_two_gibibytes(Communicator& world) {
    constexpr std::int64_t kBytes = (std::int64_t{1} << 31) + 12'345;
    const at::Tensor tensor = at::zeros({kBytes}, at::kByte);
    auto* bytes = tensor.data_ptr<std::uint8_t>();
    const auto value = [](std::int64_t i) { return static_cast<std::uint8_t>(i * 31 >> 12 ^ i); };
    if (world.rank() == 0) {
        for (std::int64_t i = 0; i < kBytes; ++i) bytes[i] = value(i);
        world.send(tensor, 1).wait();
    } else {
        world.receive(tensor, 0).wait();
        for (std::int64_t i = 0; i < kBytes; ++i)
            if (bytes[i] != value(i)) throw std::runtime_error("byte " + std::to_string(i) + " is wrong");
    }
}

const std::map<std::string, Fault> kFaults{
    {"works_and_ends", {milliseconds(60'000), exchange_sums}},
    {"sixteen_ranks", {milliseconds(60'000), exchange_sums}},
    {"two_gibibytes", {milliseconds(120'000), exchange_two_gibibytes}},
    {"receive_nobody_sends",
     {milliseconds(300), [](Communicator& world) { world.rank() == 1 ? wait_forever(world) : stay_elsewhere(); }}},
    {"barrier_one_does_not_reach",
     {milliseconds(300), [](Communicator& world) { world.rank() == 0 ? world.barrier() : stay_elsewhere(); }}},
    {"one_never_comes", {milliseconds(2000), exchange_sums}},
    {"one_is_stopped",
     {milliseconds(1000),
      [](Communicator& world) {  // 0 waits for 1, 1 for 3, 3 for 2
          const at::Tensor token = at::zeros({1});
          if (world.rank() == 2) ::raise(SIGSTOP);
          world.receive(token, std::array{1, 3, 0, 2}[static_cast<std::size_t>(world.rank())]).wait();
      }}},
    {"all_throw", {milliseconds(600'000), [](Communicator&) { throw std::runtime_error("the data is bad"); }}},
    {"rank_throws",
     {milliseconds(600'000),
      [](Communicator& world) {
          if (world.rank() == 1) throw std::runtime_error("the data is bad");
          wait_forever(world);
      }}},
    {"rank_is_killed",
     {milliseconds(600'000),
      [](Communicator& world) {
          if (world.rank() == 1) ::raise(SIGKILL);
          wait_forever(world);
      }}},
    {"message_too_short",
     {milliseconds(600'000),
      [](Communicator& world) {
          if (world.rank() == 0) world.send(at::zeros({10}), 1).wait();
          if (world.rank() == 1) world.receive(at::zeros({20}), 0).wait();
          wait_forever(world);
      }}},
    {"message_too_long",
     {milliseconds(600'000),
      [](Communicator& world) {
          if (world.rank() == 0) world.send(at::zeros({20}), 1).wait();
          if (world.rank() == 1) world.receive(at::zeros({10}), 0).wait();
          wait_forever(world);
      }}},
    {"dropped_work",
     {milliseconds(600'000),
      [](Communicator& world) {
          if (world.rank() == 1) {
              { const Work dropped = world.receive(at::empty({1024}), 0); }
              world.barrier();
          }
          wait_forever(world);
      }}},
};

}  // namespace

int run_fault(const std::string& name) {
    const auto found = kFaults.find(name);
    if (found == kFaults.end()) {
        std::fprintf(stderr, "no fault is called %s\n", name.c_str());
        return 64;
    }
    // What a main does: it tells, once, then ends the job.
    CommunicatorOptions options{.limit = {found->second.timeout, "the limit"}};
    if (name == "one_never_comes")
        options.on_late_start = [](const std::string& why) {
            if (!why.empty()) std::fprintf(stderr, "told: %s\n", why.c_str());
            ::_exit(4);
        };
    const auto world = mpi_world(options);
    try {
        found->second.body(*world);
    } catch (const std::exception& error) {
        if (world->speaks_for_all()) std::fprintf(stderr, "told: %s\n", error.what());
        world->abort(error.what(), dynamic_cast<const CommunicationError*>(&error) != nullptr ? 4 : 3);
    }
    return 0;
}

}  // namespace smp::comms
