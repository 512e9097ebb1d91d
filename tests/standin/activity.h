// What streams and hosts are at, for streams that are held back until nobody else can do anything. Counted and looked
// at without an order between threads, so that the thread sanitizer still sees a missing one.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace smp::standin {

/// Streams that have something to do and do not wait.
void add_busy(int streams);
bool is_any_busy();

/// Tasks that hosts have given to streams.
void count_given();
std::uint64_t given();

/// What the calling thread has asked of events so far was no wait for a device (HostWaits::polled).
void begins_to_ask();
/// The calling thread has asked for an event that is not reached. Whether it waits from now on: it has asked for this
/// one again and again since begins_to_ask().
bool asks_in_vain(const void* event);
/// Whether each thread that has ever waited so has been seen waiting since any host has given something: nobody gives
/// more.
bool all_hosts_wait();

/// While it lives, the stream whose task makes it waits for others and can do nothing.
class Standstill {
  public:
    Standstill();
    ~Standstill();
    Standstill(const Standstill&) = delete;
    Standstill& operator=(const Standstill&) = delete;
};

/// Where threads wait for what others do. A stream that waits can do nothing; from the moment on in which it is told to
/// look again it can, however late its thread runs again on a busy machine. All under the mutex of what is looked at.
class Crossing {
  public:
    enum class Who { stream, host };
    /// Looks at `condition` at once, and whenever tell() was called. `lock` holds the mutex.
    template <class Condition>
    void wait(Who who, std::unique_lock<std::mutex>& lock, const Condition& condition) {
        while (!condition()) {
            if (who == Who::stream) add_stream();
            changed_.wait(lock, [this, told = told_] { return told_ != told; });
        }
    }
    void tell();

  private:
    void add_stream();

    std::condition_variable changed_;
    std::uint64_t told_ = 0;
    int streams_ = 0;  // that wait
};

}  // namespace smp::standin
