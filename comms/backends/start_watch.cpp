#include "comms/backends/start_watch.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "comms/collectives/arguments.h"
#include "comms/progress.h"
#include "comms/this_process.h"

namespace smp::comms {

namespace {

// For the words of another rank to come first.
constexpr std::chrono::milliseconds kAfterOthers{3000};

std::string job_name() {
    for (const char* variable : {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID"})
        if (const char* job = std::getenv(variable)) return job;
    if (const char* job = std::getenv("SLURM_JOB_ID")) {
        const char* step = std::getenv("SLURM_STEP_ID");
        return fmt::format("{}.{}", job, step != nullptr ? step : "");
    }
    return fmt::format("of {}", ::getppid());
}

struct Address {
    sockaddr_un name{};
    socklen_t length = 0;
};

Address address_of(const std::string& job, int rank) {
    Address address;
    address.name.sun_family = AF_UNIX;
    const std::string text = fmt::format("smp start of rank {} in job {} of user {}", rank, job, ::getuid());
    const std::size_t size = std::min(text.size(), sizeof address.name.sun_path - 1);
    std::memcpy(address.name.sun_path + 1, text.data(), size);  // behind a zero: no name in the file system
    address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
    return address;
}

int datagram_socket() { return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); }

}  // namespace

std::optional<LaunchedRank> launched_rank() {
    constexpr std::array<std::array<const char*, 3>, 3> kLaunchers = {
        {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"},
         {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"},
         {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ""}}};
    for (const auto& [rank, size, size_here] : kLaunchers) {
        const auto own = number_in_environment(rank), all = number_in_environment(size);
        if (own && all) return LaunchedRank{*own, *all, number_in_environment(size_here), job_name()};
    }
    return std::nullopt;
}

Attendance::Attendance(const LaunchedRank& own) : own_(own), socket_(datagram_socket()) {
    const Address address = address_of(own.job, own.rank);
    // Where it fails, this rank looks as if it had not come: only the sentence suffers.
    if (socket_ >= 0)
        static_cast<void>(::bind(socket_, reinterpret_cast<const sockaddr*>(&address.name), address.length));
}

Attendance::~Attendance() {
    if (socket_ >= 0) ::close(socket_);
}

std::vector<int> Attendance::ranks_here() const {
    std::vector<int> here;
    for (int rank = 0; rank < own_.size; ++rank) {
        const Address address = address_of(own_.job, rank);
        const int probe = datagram_socket();
        if (probe < 0) return here;
        if (::connect(probe, reinterpret_cast<const sockaddr*>(&address.name), address.length) == 0)
            here.push_back(rank);
        ::close(probe);
    }
    return here;
}

std::string late_start(const LaunchedRank& own, const std::vector<int>& here, const WaitLimit& limit) {
    std::string missing;
    if (own.size_here == own.size) {
        std::vector<int> absent;
        for (int rank = 0; rank < own.size; ++rank)
            if (!std::binary_search(here.begin(), here.end(), rank)) absent.push_back(rank);
        missing = absent.empty() ? "all have come, and MPI does not get through"
                                 : fmt::format("{} of {} {} not come", listed(absent), own.size,
                                               absent.size() == 1 ? "has" : "have");
    } else if (own.size_here && static_cast<int>(here.size()) < *own.size_here) {
        missing = fmt::format("of the {} ranks of this host only {} have come", *own.size_here, listed(here));
    } else {
        missing = fmt::format("{} have come here; one elsewhere has not, or MPI does not get through", listed(here));
    }
    return fmt::format(
        "rank {} on {} waits for MPI's start since {}{}: {}; look on that host for what keeps its process from "
        "starting (a file system, a wrapper script, its environment){}",
        own.rank, host_name(), readable(limit.time), limit.key.empty() ? "" : fmt::format(" ({})", limit.key), missing,
        limit.key.empty() ? "" : fmt::format(", or raise {}", limit.key));
}

StartWatch::StartWatch(WaitLimit limit, std::function<void(const std::string&)> on_late)
    : limit_(std::move(limit)), on_late_(std::move(on_late)) {
    const auto own = launched_rank();
    if (!own || !on_late_) return;
    attendance_ = std::make_unique<Attendance>(*own);
    thread_ = std::thread([this, own = *own] { watch(own); });
}

StartWatch::~StartWatch() {
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
}

bool StartWatch::is_over_within(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, after(Clock::now(), time), [this] { return is_over_; });
}

void StartWatch::look_around(std::vector<int>& seen) const {
    std::vector<int> all;
    std::ranges::set_union(seen, attendance_->ranks_here(), std::back_inserter(all));
    seen = std::move(all);
}

void StartWatch::watch(const LaunchedRank& own) {
    std::vector<int> seen = {own.rank};
    for (const auto part : {limit_.time / 2, limit_.time / 4, limit_.time - limit_.time / 2 - limit_.time / 4}) {
        if (is_over_within(part)) return;
        look_around(seen);
    }
    const bool knows_one_missing = !own.size_here || static_cast<int>(seen.size()) < *own.size_here;
    const bool speaks = seen.front() == own.rank;
    if ((!speaks || !knows_one_missing) && is_over_within(kAfterOthers)) return;
    on_late_(speaks ? late_start(own, seen, limit_) : "");
}

}  // namespace smp::comms
