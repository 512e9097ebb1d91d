#include "tests/standin/activity.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <utility>

namespace smp::standin {

namespace {

/// How often a thread of the host has asked for events in vain since it has last given a stream something. Who only
/// comes by asks once or twice.
struct Asked {
    static constexpr int kMostInPassing = 10;
    std::map<const void*, int> times;
    bool waits = false;  // and is counted
};
Asked& asked() {
    static thread_local Asked of_thread;
    return of_thread;
}

/// What all streams are at: looked at without a lock, by those that are held back.
struct Activity {
    std::atomic<int> busy{0};             // streams that have something to do and do not wait
    std::atomic<std::uint64_t> given{0};  // tasks by hosts
};
Activity& activity() {
    static auto* const only = new Activity;
    return *only;
}

/// The threads that have waited for events: hosts. Looked at without a lock, like Activity.
struct Host {
    std::atomic<bool> is_there{false};
    std::atomic<std::uint64_t> given{0};  // tasks by all hosts when it was last seen waiting
};
using Hosts = std::array<Host, 256>;
Hosts& hosts() {
    static auto* const only = new Hosts;
    return *only;
}

/// This thread's place among them, as long as it lives; those beyond the last place are not looked at.
class OwnHost {
  public:
    OwnHost() {
        for (Host& host : hosts()) {
            bool is_there = false;
            if (!host.is_there.compare_exchange_strong(is_there, true, std::memory_order_relaxed)) continue;
            host_ = &host;
            return;
        }
    }
    ~OwnHost() {
        if (host_ != nullptr) host_->is_there.store(false, std::memory_order_relaxed);
    }
    OwnHost(const OwnHost&) = delete;
    OwnHost& operator=(const OwnHost&) = delete;
    void waits() {
        if (host_ == nullptr) return;
        host_->given.store(given(), std::memory_order_relaxed);
    }

  private:
    Host* host_ = nullptr;
};
void host_waits() {
    static thread_local OwnHost own;
    own.waits();
}

}  // namespace

void add_busy(int streams) { activity().busy.fetch_add(streams, std::memory_order_relaxed); }

bool is_any_busy() { return activity().busy.load(std::memory_order_relaxed) > 0; }

void count_given() { activity().given.fetch_add(1, std::memory_order_relaxed); }

std::uint64_t given() { return activity().given.load(std::memory_order_relaxed); }

void begins_to_ask() { asked() = {}; }

bool asks_in_vain(const void* event) {
    Asked& own = asked();
    if (++own.times[event] <= Asked::kMostInPassing) return false;
    host_waits();
    return !std::exchange(own.waits, true);
}

bool all_hosts_wait() {
    const std::uint64_t now = given();
    return std::ranges::all_of(hosts(), [now](const Host& host) {
        return !host.is_there.load(std::memory_order_relaxed) || host.given.load(std::memory_order_relaxed) == now;
    });
}

Standstill::Standstill() { add_busy(-1); }
Standstill::~Standstill() { add_busy(1); }

void Crossing::add_stream() {
    ++streams_;
    add_busy(-1);
}

void Crossing::tell() {
    ++told_;
    add_busy(std::exchange(streams_, 0));
    changed_.notify_all();
}

}  // namespace smp::standin
