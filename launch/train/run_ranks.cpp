#include "launch/train/run_ranks.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <mutex>
#include <sched.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "comms/device/rank_device.h"
#include "comms/this_process.h"
#include "launch/command/standard_output.h"
#include "launch/plan/machine_memory.h"
#include "launch/train/last_words.h"
#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"
#include "runtime/job/job_plan.h"
#include "runtime/job/job_rules.h"
#include "runtime/stage/memory_error.h"

namespace smp::launch {

namespace {

/// Remembers the first failure of a world and tells of it, once.
class FailureReport {
  public:
    /// Ranks of this process share this object; those that are processes have to ask each other who speaks.
    enum class Ranks { threads, processes };
    FailureReport(const RankRun& run, Ranks ranks) : run_(run), ranks_(ranks) {}

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

    /// Of what keeps a rank from beginning.
    void fail_to_start(comms::Communicator& world, const std::string& why, int exit_code) {
        if (remember(exit_code)) print(why);
        world.abort(why, exit_code);
    }

    int code(int otherwise) const { return code_ != 0 ? code_.load() : otherwise; }

  private:
    int fail(comms::Communicator& world, const std::exception& error, int exit_code) {
        const std::string place = run_.place ? run_.place(world) : "", why = runtime::sentence_of(error);
        if (remember(exit_code) && (ranks_ == Ranks::threads || world.speaks_for_all()))
            print(fmt::format("rank {}{}{}: {}", world.rank(), place.empty() ? "" : ", ", place, why));
        world.abort(why, exit_code);
        return exit_code;
    }

    bool remember(int exit_code) {
        int none = 0;
        return code_.compare_exchange_strong(none, exit_code);
    }

    void print(const std::string& message) const { tell_failure(run_.program, message); }

    const RankRun& run_;
    Ranks ranks_;
    std::atomic<int> code_ = 0;
};

comms::WaitLimit limit(double seconds, const char* key) {
    return {std::chrono::milliseconds(std::llround(1e3 * seconds)), key};
}

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

void require_room_for_threads(const Config& config, int ranks) {
    if (config.cluster.device != partition::Device::cpu && comms::cuda_device_count() > 0) return;
    const auto available = available_memory();
    if (!available || !runtime::validate_job_on(config, ranks).empty()) return;
    const auto plan = runtime::plan_of(config, ranks);
    if (const auto sentence = misfit_of_threads(plan, runtime::graph_of(config, ranks), *available))
        throw runtime::MemoryError(*sentence);
}

std::function<void(const std::string& why)> ending_where_stuck(std::string program) {
    return [program = std::move(program)](const std::string& why) {
        tell_failure(program, why);
        ::_exit(4);  // the rank's thread never comes back
    };
}

int run_as_threads(const RankRun& run, int ranks, const RankMain& body) {
    auto worlds = comms::local_world(ranks, run.communicator);
    FailureReport report(run, FailureReport::Ranks::threads);
    {
        std::vector<std::jthread> threads;
        threads.reserve(worlds.size());
        for (auto& world : worlds) {
            try {
                threads.emplace_back([&] { report.guard(*world, body); });
            } catch (const std::system_error& error) {
                report.fail_to_start(
                    *world,
                    fmt::format("rank {}: the system refuses a thread for it ({}); look at limits on memory and on "
                                "processes (ulimit -v, ulimit -u, a container's), or run fewer ranks here",
                                world->rank(), error.what()),
                    5);
                break;
            }
        }
    }
    return report.code(0);
}

int run_under_mpi(const RankRun& run, const RankMain& body) {
    FailureReport report(run, FailureReport::Ranks::processes);
    std::unique_ptr<comms::Communicator> world;
    comms::CommunicatorOptions options = run.communicator;
    options.on_late_start = [&run](const std::string& why) {
        if (!why.empty()) tell_failure(run.program, why);
        ::_exit(4);  // the thread that is inside MPI never comes back
    };
    try {
        world = comms::mpi_world(options);
    } catch (const std::exception& error) {
        tell_failure(run.program, error.what());
        return 4;
    }
    return report.guard(*world, body);
}

int fair_thread_count(comms::Communicator& world) {
    const at::Tensor own = at::empty({static_cast<std::int64_t>(sizeof(Seat))}, at::kByte);
    Seat seat;
    comms::host_name().copy(seat.host.data(), seat.host.size() - 1);
    CPU_ZERO(&seat.processors);
    if (::sched_getaffinity(0, sizeof seat.processors, &seat.processors) != 0) CPU_ZERO(&seat.processors);
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

comms::WaitLimit startup_limit(const partition::ClusterOptions& cluster) {
    return limit(cluster.startup_timeout_seconds, "cluster.startup_timeout_seconds");
}

comms::WaitLimit limit_of_waits(const partition::ClusterOptions& cluster) {
    return limit(cluster.timeout_seconds, "cluster.timeout_seconds");
}

}  // namespace smp::launch
