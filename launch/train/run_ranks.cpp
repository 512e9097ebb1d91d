#include "launch/train/run_ranks.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <sched.h>
#include <set>
#include <stop_token>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

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

// After a failure was told: enough for a rank between two operators to hear of it and leave.
constexpr std::chrono::seconds kPatience{5};

/// Remembers the first failure of a world and tells of it, once.
class FailureReport {
  public:
    /// Ranks of this process share this object; those that are processes have to ask each other who speaks.
    enum class Ranks { threads, processes };
    FailureReport(const RankRun& run, Ranks ranks) : run_(run), ranks_(ranks) {}

    /// Turns what `body` throws on `world` into a message, the end of the other ranks and an exit code.
    int guard(comms::Communicator& world, const RankMain& body) {
        const Presence presence(*this, world.rank());
        try {
            const int code = body(world, [&](const std::exception& error) noexcept { take(world, error); });
            if (code != 0) remember(code);
            return code;
        } catch (const ReaderIsGone&) {  // of an answer
            return 0;
        } catch (const runtime::AgreedFailure& failure) {  // all ranks are here
            remember(failure.exit_code());
            if (world.rank() == 0) {
                print(failure.message());
                end_before_long();
            }
            return failure.exit_code();
        } catch (const std::exception& error) {
            return take(world, error);
        }
    }

    /// Of what keeps a rank from beginning.
    void fail_to_start(comms::Communicator& world, const std::string& why, int exit_code) {
        if (remember(exit_code)) print(why);
        world.abort(why, exit_code);
    }

    int code(int otherwise) const { return code_ != 0 ? code_.load() : otherwise; }

  private:
    /// Of a rank, from its beginning to its end.
    class Presence {
      public:
        Presence(FailureReport& report, int rank) : report_(report), rank_(rank) {
            const std::lock_guard lock(report_.mutex_);
            report_.present_.insert(rank);
        }
        ~Presence() {
            const std::lock_guard lock(report_.mutex_);
            report_.present_.erase(rank_);
        }
        Presence(const Presence&) = delete;
        Presence& operator=(const Presence&) = delete;

      private:
        FailureReport& report_;
        int rank_;
    };

    /// What one rank alone has met.
    int take(comms::Communicator& world, const std::exception& error) {
        const auto* of_communication = dynamic_cast<const comms::CommunicationError*>(&error);
        if (of_communication != nullptr && of_communication->by_peer()) return code(4);  // the peer has said why
        const int exit_code = runtime::exit_code_of(error);
        const std::string place = run_.place ? run_.place(world) : "", why = runtime::sentence_of(error);
        if (remember(exit_code)) {
            if (speaks(world))
                print(fmt::format("rank {}{}{}: {}", world.rank(), place.empty() ? "" : ", ", place, why));
            end_before_long();
        }
        world.abort(why, exit_code);
        return code(exit_code);
    }

    /// A thread beside the rank's cannot ask the others, and speaks where the rank does not come back.
    bool speaks(comms::Communicator& world) const {
        return ranks_ == Ranks::threads || std::this_thread::get_id() != thread_of_process_ || world.speaks_for_all();
    }

    bool remember(int exit_code) {
        int none = 0;
        return code_.compare_exchange_strong(none, exit_code);
    }

    void print(const std::string& message) const { tell_failure(run_.program, message); }

    /// See run_as_threads(); processes are ended by MPI.
    void end_before_long() {
        if (ranks_ == Ranks::processes || is_ending_.exchange(true)) return;
        try {
            end_ = std::jthread([this](const std::stop_token& all_are_back) {
                std::mutex own;
                std::unique_lock lock(own);
                std::condition_variable_any never;
                never.wait_for(lock, all_are_back, kPatience, [] { return false; });
                const std::lock_guard lock_present(mutex_);
                if (present_.empty()) return;
                tell_log(run_.program, fmt::format("ends without rank{} {}, held up in a call that does not come back",
                                                   present_.size() == 1 ? "" : "s", fmt::join(present_, ", ")));
                ::_exit(code(1));
            });
        } catch (const std::system_error&) {  // no thread is left: then all are waited for
        }
    }

    const RankRun& run_;
    Ranks ranks_;
    const std::thread::id thread_of_process_ = std::this_thread::get_id();
    std::atomic<int> code_ = 0;
    std::mutex mutex_;
    std::set<int> present_;
    std::atomic<bool> is_ending_ = false;
    std::jthread end_;  // last: it uses all of the above
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

TellFailure ending_this_process(std::string program) {
    return [program = std::move(program)](const std::exception& error) {
        tell_failure(program, runtime::sentence_of(error));
        ::_exit(runtime::exit_code_of(error));
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
