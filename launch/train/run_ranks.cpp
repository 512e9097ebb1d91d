#include "launch/train/run_ranks.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <sched.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/command/standard_streams.h"
#include "partition/job/problem.h"
#include "runtime/execution/agreement.h"

namespace smp::launch {

namespace {

/// Remembers the first failure of a world and prints it, once.
class FailureReport {
  public:
    explicit FailureReport(const RankRun& run) : run_(run) {}

    /// Turns what `body` throws on `world` into a message, the end of the other ranks and an exit code.
    int guard(comms::Communicator& world, const RankMain& body) {
        try {
            const int code = body(world);
            if (code != 0) remember(code);
            return code;
        } catch (const ReaderIsGone&) {  // of an answer
            return 0;
        } catch (const runtime::AgreedFailure& failure) {  // all ranks are here
            if (world.rank() == 0) print(failure.message());
            remember(failure.exit_code());
            return failure.exit_code();
        } catch (const comms::CommunicationError& error) {
            if (error.by_peer()) return code(4);  // the peer has said why
            return fail(world, error, 4);
        } catch (const std::exception& error) {
            return fail(world, error, runtime::exit_code_of(error));
        }
    }

    int code(int otherwise) const { return code_ != 0 ? code_.load() : otherwise; }

  private:
    int fail(comms::Communicator& world, const std::exception& error, int exit_code) {
        const std::string place = run_.place ? run_.place(world) : "";
        if (remember(exit_code))
            print(fmt::format("rank {}{}{}: {}", world.rank(), place.empty() ? "" : ", ", place, error.what()));
        world.abort(error.what(), exit_code);
        return exit_code;
    }

    bool remember(int exit_code) {
        int none = 0;
        return code_.compare_exchange_strong(none, exit_code);
    }

    void print(const std::string& message) const { print_failure(run_.program, message); }

    const RankRun& run_;
    std::atomic<int> code_ = 0;
};

/// Host and processors of a rank, as numbers that can be gathered and compared.
struct Seat {
    std::array<char, 256> host{};
    cpu_set_t processors{};
};

}  // namespace

void require_few_threads(int ranks, int threads_per_rank) {
    constexpr std::int64_t kMost = 512;
    if (const std::int64_t all = std::int64_t{ranks} * threads_per_rank; all > kMost) {
        throw partition::ConfigError(partition::Problem{
            threads_per_rank > 1 ? "cluster.threads_per_rank" : "--ranks",
            fmt::format("makes {} threads of one process ({} ranks, {} threads each), where at most {} are sensible; "
                        "start ranks as processes (mpirun), or fewer of them",
                        all, ranks, threads_per_rank, kMost)});
    }
}

int run_as_threads(const RankRun& run, int ranks, const RankMain& body) {
    auto worlds = comms::local_world(ranks, run.communicator);
    FailureReport report(run);
    {
        std::vector<std::jthread> threads;
        threads.reserve(worlds.size());
        for (auto& world : worlds) threads.emplace_back([&] { report.guard(*world, body); });
    }
    return report.code(0);
}

int run_under_mpi(const RankRun& run, const RankMain& body) {
    FailureReport report(run);
    std::unique_ptr<comms::Communicator> world;
    try {
        world = comms::mpi_world(run.communicator);
    } catch (const std::exception& error) {
        print_failure(run.program, error.what());
        return 4;
    }
    return report.guard(*world, body);
}

int fair_thread_count(comms::Communicator& world) {
    const at::Tensor own = at::empty({static_cast<std::int64_t>(sizeof(Seat))}, at::kByte);
    Seat seat;
    ::gethostname(seat.host.data(), seat.host.size() - 1);
    CPU_ZERO(&seat.processors);
    if (::sched_getaffinity(0, sizeof seat.processors, &seat.processors) != 0) return 1;
    std::memcpy(own.data_ptr<std::uint8_t>(), &seat, sizeof seat);
    const at::Tensor all = at::empty({world.size() * own.numel()}, at::kByte);
    world.all_gather(all, own).wait();
    int neighbours = 0;
    for (int rank = 0; rank < world.size(); ++rank)
        neighbours +=
            std::memcmp(all.const_data_ptr<std::uint8_t>() + rank * own.numel(), &seat, sizeof seat) == 0 ? 1 : 0;
    return std::max(1, CPU_COUNT(&seat.processors) / neighbours);
}

void set_threads(const Config& config, comms::Communicator& world) {
    at::set_num_threads(config.cluster.threads_per_rank.value_or(fair_thread_count(world)));
}

void set_timeout(comms::Communicator& world, double seconds) {
    world.set_timeout(std::chrono::milliseconds(static_cast<std::int64_t>(1e3 * seconds)));
}

}  // namespace smp::launch
