// What one rank computes on: the CPU, or a CUDA device with a stream for compute. Its work is issued there in the order
// of the calls; what else runs beside it (communication, copies) has streams of its own and is joined (Work::join).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/StreamGuard.h>

#include "comms/communicator.h"
#include "comms/device/copy_stream.h"

namespace smp::comms {

class EventPool;

/// Devices that CUDA sees here; 0 in builds without it, and where there is no driver.
int cuda_device_count();
/// What tells each from all others of its host, however many of them a process is let see.
std::vector<std::string> cuda_device_ids();
/// Name and memory of each: "NVIDIA H100 80GB HBM3, 79.1 GiB".
std::vector<std::string> described_cuda_devices();
/// Gives CUDA as many queues to devices as a rank has streams, so that none waits behind another's: ahead of all else
/// of a program, since CUDA reads it once and no other thread may read the environment meanwhile. Leaves what the user
/// has set.
void prepare_cuda_queues() noexcept;

class RankDevice {
  public:
    /// Of the CPU there is one; on CUDA this makes a stream of the least priority. Throws CommunicationError where CUDA
    /// has no such device or refuses it.
    explicit RankDevice(c10::Device device);
    ~RankDevice();
    RankDevice(const RankDevice&) = delete;
    RankDevice& operator=(const RankDevice&) = delete;

    c10::Device device() const { return device_; }
    bool is_cuda() const { return device_.is_cuda(); }

    /// While the result lives, the device and its compute stream are the calling thread's current ones.
    [[nodiscard]] c10::OptionalStreamGuard enter() const;
    /// What compute has been given so far, as an operation that `progress` waits for: the one way in which the host
    /// waits for the device. Complete on the CPU. `what` names it: "the end of step 7".
    Work reached(const std::shared_ptr<Progress>& progress, std::string what) const;
    /// Calls `note` when compute has come here: at once on the CPU, else from a thread of the driver's, which must not
    /// call CUDA.
    void call_when_reached(std::function<void()> note) const;
    /// Copies the bytes of a contiguous tensor into another of the same size, between this device and host memory or
    /// inside either, in the order of compute: at once on the CPU. Both must live until the device has come there.
    /// (LibTorch's own asynchronous copies leave an event with pinned memory, whose end then fails where the device has
    /// failed.)
    void copy(const at::Tensor& destination, const at::Tensor& source) const;
    /// A copy of a contiguous tensor of the CPU on this device, likewise; on the CPU the tensor itself.
    at::Tensor copy_of(const at::Tensor& source) const;
    /// A stream of copies between this device and host memory (copy_stream.h).
    std::unique_ptr<CopyStream> make_copy_stream(std::string name, std::shared_ptr<Progress> progress,
                                                 const CopyOptions& options) const;
    /// Uninitialised uint8 [bytes] of host memory that copies to and from this device run beside compute with: pinned
    /// for CUDA, and no larger than is asked for. What is given up is kept for who asks for as much, until the device
    /// is gone too. Throws std::bad_alloc where CUDA can pin no more.
    at::Tensor host_memory(std::int64_t bytes) const;

  private:
    struct Compute;

    c10::Device device_;
    std::unique_ptr<Compute> compute_;  // null on the CPU
};

}  // namespace smp::comms
