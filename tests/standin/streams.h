// Streams as threads that do what they are given one after the other, and events between them. What no event orders
// really runs at the same time, so that a missing one is a race.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <cuda_runtime_api.h>

#include "tests/standin/activity.h"
#include "tests/standin/settings.h"

namespace smp::standin {

/// What a stream is for, told by what the host has given it so far.
class Purpose {
  public:
    enum class Work { nothing, copies_in, copies_out, kernels };
    void add(Work work) { most_ = std::max(most_, work); }
    void add_kernels_of(const std::string& communicator) { communicator_ = communicator; }
    std::string name() const;

  private:
    Work most_ = Work::nothing;
    std::string communicator_;
};

/// A queue with a thread that begins with the first task. The thread is nobody's: a task may wait for ever, and then it
/// ends with the process.
class TaskQueue : public std::enable_shared_from_this<TaskQueue> {
  public:
    using Task = std::function<void()>;

    /// Of a stream, tasks begin late; of NCCL's own jobs at once.
    enum class Of { stream, nccl };
    explicit TaskQueue(Of of) : of_(of) {}

    Purpose purpose;  // the host's to read and to write

    void push(Task task);
    bool idle();
    /// Until all that it was given so far has ended, or `end`; whether it has.
    bool wait(std::optional<std::chrono::steady_clock::time_point> end = {});
    /// The thread ends behind what it has.
    void close();
    /// As Control::hold_back has it.
    void hold_back(bool held) { held_back_.store(held, std::memory_order_relaxed); }

  private:
    void work();
    void begin_late();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    std::uint64_t given_ = 0, ended_ = 0;
    bool started_ = false, closed_ = false;
    const Of of_;
    std::atomic<bool> held_back_{false};
    std::uint64_t given_at_looks_ = 0;  // of the thread that is held back, like the number of looks since
    int looks_ = 0;
    Delays delays_;
};

struct Stream {
    int device;
    std::shared_ptr<TaskQueue> queue;
};

/// Null for a handle that is no stream here (cudaStreamPerThread).
Stream* stream_of(cudaStream_t handle);
/// Until all streams of the device have done what they hold now, at most for `time`; whether they have.
bool wait_for_device(int device, std::optional<std::chrono::milliseconds> time = {});

/// The times that an event was recorded, by number. Outlives its handle: streams may still wait for it.
class EventState {
  public:
    std::uint64_t issue();
    std::uint64_t issued();
    void reach(std::uint64_t record);
    bool has_reached_all();
    void wait(Crossing::Who who, std::uint64_t record);
    std::chrono::steady_clock::time_point time();

  private:
    std::mutex mutex_;
    Crossing reached_more_;
    std::uint64_t issued_ = 0, reached_ = 0;
    std::chrono::steady_clock::time_point time_;
};

}  // namespace smp::standin
