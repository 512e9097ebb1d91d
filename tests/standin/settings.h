// What the environment and the tests say of the stand-in, and what it has counted. Atomic numbers only: a lock here
// would order threads that nothing else orders, and hide races from the thread sanitizer.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "tests/standin/control.h"

namespace smp::standin {

constexpr int kMostDevices = 64;

/// SMP_STANDIN_DEVICES (8), SMP_STANDIN_BYTES of each (256 MiB).
int device_count();
std::int64_t device_bytes();

/// After which a wait that is to be short is one for ever: SMP_STANDIN_PATIENCE_MS (10,000), looked up each time.
std::chrono::milliseconds patience();

/// A source of delays, each its own: the n-th that is made under a seed draws the same ones.
class Delays {
  public:
    Delays();
    /// Sleeps for a drawn time below the longest, which SMP_STANDIN_DELAY_US (0) or Control::delay sets.
    void sleep();

  private:
    std::uint64_t number_;
    std::uint64_t seed_ = 0;
    std::mt19937_64 draw_;
};

struct Counts {
    std::atomic<std::int64_t> streams{0}, devices{0}, events{0}, copies{0}, frees{0}, polled{0}, events_created{0},
        events_recorded{0}, events_queried{0};
};
Counts& counts(int device);
/// One more, without ordering anything.
inline void count(std::atomic<std::int64_t>& number) { number.fetch_add(1, std::memory_order_relaxed); }

/// What is planted for this call, if its time has come; does not return while it is one that stalls.
std::optional<int> planted(const char* call, int device, const std::string& communicator = {});

/// Whether Control::ignore_joins says so of these purposes.
bool join_is_ignored(const std::string& waiting, const std::string& awaited);

// The parts that other files add to Control.
std::int64_t bytes_in_use(int device);
std::int64_t pinned_bytes(int device);
void joins(int device, void (*take)(void* context, const char* waiting, const char* awaited), void* context);
void hold_back(const char* purpose);  // null: none any more
void fail_communicators(int device, int result);
void waiting_kernels(void (*take)(void* context, const char* line), void* context);

}  // namespace smp::standin
