// Streams as threads that do what they are given one after the other, and events between them. What no event orders
// really runs at the same time, so that a missing one is a race.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include <cuda_runtime_api.h>

#include "tests/standin/settings.h"

namespace smp::standin {

/// A queue with a thread that begins with the first task. The thread is nobody's: a task may wait for ever, and then it
/// ends with the process.
class TaskQueue : public std::enable_shared_from_this<TaskQueue> {
  public:
    using Task = std::function<void()>;

    explicit TaskQueue(bool delayed) : delayed_(delayed) {}

    void push(Task task);
    bool idle();
    /// Until all that it was given so far has ended, or `end`; whether it has.
    bool wait(std::optional<std::chrono::steady_clock::time_point> end = {});
    /// The thread ends behind what it has.
    void close();

  private:
    void work();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    std::uint64_t given_ = 0, ended_ = 0;
    bool started_ = false, closed_ = false, delayed_;
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
    void wait(std::uint64_t record);
    std::chrono::steady_clock::time_point time();

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t issued_ = 0, reached_ = 0;
    std::chrono::steady_clock::time_point time_;
};

}  // namespace smp::standin
