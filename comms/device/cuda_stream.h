// Streams and events of CUDA as owned things, and CUDA's errors as sentences.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

namespace smp::comms {

/// Throws CommunicationError: operation and what CUDA says.
void check_cuda(cudaError_t code, const std::string& operation);

class EventPool;

/// A point in a stream. Its event goes back to the pool with it, reached or not: streams that wait for it keep to the
/// point.
class CudaEvent {
  public:
    CudaEvent(std::shared_ptr<EventPool> pool, cudaEvent_t event) : pool_(std::move(pool)), event_(event) {}
    CudaEvent(CudaEvent&& other) noexcept = default;
    CudaEvent& operator=(CudaEvent&&) = delete;
    ~CudaEvent();

    /// Throws what went wrong on the device before it.
    bool reached() const;
    cudaEvent_t get() const { return event_; }

  private:
    std::shared_ptr<EventPool> pool_;  // null after a move
    cudaEvent_t event_;
};

/// Events of one device, used again and again: making one is a call of the driver. For one thread.
class EventPool : public std::enable_shared_from_this<EventPool> {
  public:
    struct Options {
        bool are_timed = false;      // for cudaEventElapsedTime
        std::size_t at_start = 256;  // seldom exceeded: operations keep theirs until somebody looks at them
    };
    explicit EventPool(int device, const Options& options);
    explicit EventPool(int device) : EventPool(device, Options{}) {}
    ~EventPool();
    EventPool(const EventPool&) = delete;
    EventPool& operator=(const EventPool&) = delete;

    /// Behind what the stream, of this device, holds now.
    CudaEvent record(cudaStream_t stream);
    c10::DeviceIndex device() const { return static_cast<c10::DeviceIndex>(device_); }
    /// The calling thread's current stream on this device, whatever its current device is.
    cudaStream_t current_stream() const;

  private:
    friend class CudaEvent;

    cudaEvent_t make() const;

    int device_;
    unsigned flags_;
    std::vector<cudaEvent_t> free_;
};

/// A stream that waits for no other by itself. (Streams of torch's pool are handed out again after 32.)
class CudaStream {
  public:
    /// high: communication, which others wait for.
    enum class Priority { low, high };
    CudaStream(int device, Priority priority);
    ~CudaStream();
    CudaStream(const CudaStream&) = delete;
    CudaStream& operator=(const CudaStream&) = delete;

    cudaStream_t get() const { return stream_; }
    c10::cuda::CUDAStream for_torch() const {
        return c10::cuda::getStreamFromExternal(stream_, static_cast<c10::DeviceIndex>(device_));
    }
    /// What is queued here from now on starts behind the event.
    void wait(const CudaEvent& event) const;

  private:
    int device_;
    cudaStream_t stream_ = nullptr;
};

}  // namespace smp::comms
