// NCCL and the CUDA runtime as owned things, and their errors as sentences.
#pragma once

#include <memory>
#include <string>

#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include "comms/progress.h"

namespace smp::comms {

/// Throws CommunicationError: operation, what NCCL says, its version, the probable cause and what to do. ncclInProgress
/// is no error.
void check_nccl(ncclResult_t code, const std::string& operation, ncclComm_t comm = nullptr);
void check_cuda(cudaError_t code, const std::string& operation);
/// Throws CommunicationError where the library loaded is another than the headers this was compiled with.
void check_nccl_version();

/// An event of the current device.
class CudaEvent {
  public:
    CudaEvent();
    ~CudaEvent();
    CudaEvent(const CudaEvent&) = delete;
    CudaEvent& operator=(const CudaEvent&) = delete;

    void record(cudaStream_t stream);
    bool reached() const;
    cudaEvent_t get() const { return event_; }

  private:
    cudaEvent_t event_ = nullptr;
};

/// A stream of high priority that lives as long as its communicator. (Streams of torch's pool are handed out again
/// after 32.)
class CudaStream {
  public:
    explicit CudaStream(int device);
    ~CudaStream();
    CudaStream(const CudaStream&) = delete;
    CudaStream& operator=(const CudaStream&) = delete;

    cudaStream_t get() const { return stream_; }
    c10::cuda::CUDAStream for_torch() const {
        return c10::cuda::getStreamFromExternal(stream_, static_cast<c10::DeviceIndex>(device_));
    }

  private:
    int device_;
    cudaStream_t stream_ = nullptr;
};

/// One non-blocking NCCL communicator. Only those can be given up safely when a peer is gone.
class NcclCommunicator {
  public:
    struct Seat {
        int device;
        int rank;
        int size;
        std::string name;
        std::vector<int> world_ranks;  // of its ranks
        WaitLimit limit;               // of any wait inside NCCL
    };

    /// Collective: blocks until all ranks with this id are connected.
    NcclCommunicator(const Seat& seat, const ncclUniqueId& id);
    /// Collective over `parent`, on which nothing may be under way.
    NcclCommunicator(const Seat& seat, NcclCommunicator& parent, int color, int key);
    ~NcclCommunicator();
    NcclCommunicator(const NcclCommunicator&) = delete;
    NcclCommunicator& operator=(const NcclCommunicator&) = delete;

    ncclComm_t get() const { return comm_; }
    CudaStream& stream() { return stream_; }
    const Seat& seat() const { return seat_; }

    /// Calls `issue` between ncclGroupStart and ncclGroupEnd: what it starts moves together.
    template <typename Issue>
    void grouped(const char* operation, Issue issue);
    /// Blocks until NCCL has taken what it was given (a non-blocking call goes on in the background; until then no
    /// other may be made).
    void settle(const char* operation);
    /// Throws what NCCL found out since.
    void check_asynchronous_errors() const;
    /// Ends everything under way and the communicator, whatever the peers do.
    void give_up() noexcept;

  private:
    std::string what(const char* operation) const;

    Seat seat_;
    CudaStream stream_;
    ncclComm_t comm_ = nullptr;
};

template <typename Issue>
void NcclCommunicator::grouped(const char* operation, Issue issue) {
    check_nccl(ncclGroupStart(), "ncclGroupStart");
    try {
        issue();
    } catch (...) {
        (void)ncclGroupEnd();  // the first error is the one to tell
        throw;
    }
    check_nccl(ncclGroupEnd(), what(operation), comm_);
    settle(operation);
}

}  // namespace smp::comms
