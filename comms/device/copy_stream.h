// Copies between device and host memory that run beside compute. On the CPU a stream is a thread, and device memory is
// memory like any other: what is real is the order. RankDevice::make_copy_stream makes the one that a device has.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"

namespace smp::comms {

struct CopyOptions {
    double bytes_per_second = std::numeric_limits<double>::infinity();  // no faster than that; tests slow copies down
};

/// Copies of one direction, one after the other in the order of the calls. Used by one thread.
class CopyStream {
  public:
    virtual ~CopyStream() = default;

    /// Copies the bytes of `source` into `destination`, behind what the current stream holds. Both are contiguous
    /// tensors of one size, kept alive until then and not to be written (`source`) or used (`destination`) before the
    /// Work is complete or joined. `on_end`, where given, is called by the stream's thread right after the copy. Throws
    /// std::logic_error for tensors that do not fit.
    virtual Work copy(at::Tensor destination, at::Tensor source, std::function<void()> on_end = {}) = 0;

    /// Throws std::logic_error for tensors that copy() does not take.
    static void require_copy(const std::string& name, const at::Tensor& destination, const at::Tensor& source);
};

/// Of a rank on the CPU: a thread, and CPU tensors.
class HostCopyStream final : public CopyStream {
  public:
    /// `name` is for messages ("copies out"). Waits are those of `progress`: its deadline, its first failure, and what
    /// else is in flight there moves on.
    HostCopyStream(std::string name, std::shared_ptr<Progress> progress, const CopyOptions& options = {});
    /// Ends the copy that runs; those behind it are dropped.
    ~HostCopyStream() override;
    HostCopyStream(const HostCopyStream&) = delete;
    HostCopyStream& operator=(const HostCopyStream&) = delete;

    Work copy(at::Tensor destination, at::Tensor source, std::function<void()> on_end = {}) override;

  private:
    class Copy;

    void run();

    std::string name_;
    std::shared_ptr<Progress> progress_;
    CopyOptions options_;
    std::mutex mutex_;
    std::condition_variable has_work_;
    std::deque<std::shared_ptr<Copy>> queue_;
    bool stops_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace smp::comms
