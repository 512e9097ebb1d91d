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
    : groups_(groups), options_(std::move(options)), rank_(groups.world->rank()), thread_([this] { run(); }) {}

DeviceWatch::~DeviceWatch() {
    {
        const std::lock_guard lock(mutex_);
        stops_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

DeviceWatch::Scope::Scope(DeviceWatch* watch) : watch_(watch) {
    if (watch_ == nullptr) return;
    const std::lock_guard lock(watch_->mutex_);
    watch_->is_at_work_ = true;
}

DeviceWatch::Scope::~Scope() {
    if (watch_ == nullptr) return;
    const std::lock_guard lock(watch_->mutex_);
    watch_->is_at_work_ = false;
}

std::uint64_t DeviceWatch::looks() const { return groups_.in_flight()->looks() + groups_.world->in_flight()->looks(); }

void DeviceWatch::give_up(const std::string& why) {
    given_up_for_ = why;
    if (groups_.nccl) groups_.nccl->give_up();
}

void DeviceWatch::run() {
    pthread_setname_np(pthread_self(), "smp watch");
    std::uint64_t seen = looks();
    Clock::time_point came_by = Clock::now(), gave_up = {};
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kBetweenLooks, [this] { return stops_; })) {
        const std::uint64_t now_seen = looks();
        const Clock::time_point now = Clock::now();
        if (!is_at_work_ || std::exchange(seen, now_seen) != now_seen) {
            came_by = now;
            continue;
        }
        const auto away = now - came_by;
        if (given_up_for_.empty()) {
            const bool has_failed = groups_.world->has_failed();
            if (away < (has_failed ? kPatience : options_.limit)) continue;
            std::string why =
                fmt::format("rank {} has been inside one call for {} s ({}), in {}", rank_,
                            std::chrono::duration_cast<std::chrono::seconds>(away).count(),
                            has_failed ? "while another rank failed" : options_.limit_key, options_.doing());
            if (!has_failed) groups_.world->abort(why, 4);
            give_up(why);
            gave_up = now;
        } else if (now - gave_up >= kPatience && options_.on_stuck) {
            lock.unlock();
            options_.on_stuck(given_up_for_ + "; it does not come back");
            return;
        }
    }
}

}  // namespace smp::runtime
