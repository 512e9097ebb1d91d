#include "runtime/stage/device_watch.h"

#include <pthread.h>
#include <utility>

#include <fmt/format.h>

#include "comms/progress.h"

namespace smp::runtime {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBetweenLooks{200};
// A rank that has heard of a failure leaves at once; one that has not come by for so long is held up.
constexpr milliseconds kPatience{2000};

}  // namespace

DeviceWatch::DeviceWatch(const RankGroups& groups, Options options)
    : groups_(groups), options_(std::move(options)), thread_([this] { run(); }) {}

DeviceWatch::~DeviceWatch() {
    {
        const std::lock_guard lock(mutex_);
        stops_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

DeviceWatch::Scope::Scope(DeviceWatch* watch, std::string what) : watch_(watch) {
    if (watch_ == nullptr) return;
    const std::lock_guard lock(watch_->mutex_);
    watch_->is_at_work_ = true;
    watch_->what_ = std::move(what);
}

DeviceWatch::Scope::~Scope() {
    if (watch_ == nullptr) return;
    const std::lock_guard lock(watch_->mutex_);
    watch_->is_at_work_ = false;
}

std::uint64_t DeviceWatch::looks() const { return groups_.in_flight()->looks() + groups_.world->in_flight()->looks(); }

void DeviceWatch::fail(const std::string& what) const {
    const std::string where = options_.doing();
    const comms::CommunicationError error(
        fmt::format("one call has not come back for {} ({}), in {}{}{}; see what the device does, or raise {} where it "
                    "only needs longer",
                    comms::readable(options_.limit), options_.limit_key, what, where.empty() ? "" : ": ", where,
                    options_.limit_key));
    if (options_.on_failure)
        options_.on_failure(error);
    else
        groups_.world->abort(error.what(), 4);
}

void DeviceWatch::run() {
    pthread_setname_np(pthread_self(), "smp watch");
    std::uint64_t seen = looks();
    Clock::time_point came_by = Clock::now();
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kBetweenLooks, [this] { return stops_; })) {
        const std::uint64_t now_seen = looks();
        const Clock::time_point now = Clock::now();
        if (!is_at_work_ || std::exchange(seen, now_seen) != now_seen) {
            came_by = now;
            continue;
        }
        const auto away = now - came_by;
        const bool has_failed = groups_.world->has_failed();
        if (away < (has_failed ? kPatience : options_.limit)) continue;
        const std::string what = what_;
        lock.unlock();  // what follows may last as long as the rank's call
        if (!has_failed) fail(what);
        if (groups_.nccl) groups_.nccl->give_up();
        return;  // more cannot be done from here
    }
}

}  // namespace smp::runtime
