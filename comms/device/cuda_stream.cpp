#include "comms/device/cuda_stream.h"

#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

#include "comms/communicator.h"

namespace smp::comms {

void check_cuda(cudaError_t code, const std::string& operation) {
    if (code == cudaSuccess) return;
    throw CommunicationError(
        fmt::format("{} failed: {} ({})", operation, cudaGetErrorString(code), cudaGetErrorName(code)));
}

CudaEvent::~CudaEvent() {
    if (pool_ == nullptr) return;
    try {
        pool_->free_.push_back(event_);
    } catch (...) {  // no memory to remember it
        (void)cudaEventDestroy(event_);
    }
}

bool CudaEvent::reached() const {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    check_cuda(code, "work on the GPU before a communication's end");
    return true;
}

EventPool::EventPool(int device, const Options& options)
    : device_(device), flags_(options.are_timed ? cudaEventDefault : cudaEventDisableTiming) {
    for (std::size_t i = 0; i < options.at_start; ++i) free_.push_back(make());
}

EventPool::~EventPool() {
    for (cudaEvent_t event : free_) (void)cudaEventDestroy(event);
}

cudaEvent_t EventPool::make() const {
    const c10::cuda::CUDAGuard guard(device());
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, flags_), "cudaEventCreateWithFlags");
    return event;
}

CudaEvent EventPool::record(cudaStream_t stream) {
    if (free_.empty()) free_.push_back(make());
    cudaEvent_t event = free_.back();
    free_.pop_back();
    CudaEvent recorded(shared_from_this(), event);
    check_cuda(cudaEventRecord(event, stream), "cudaEventRecord");
    return recorded;
}

cudaStream_t EventPool::current_stream() const { return c10::cuda::getCurrentCUDAStream(device()).stream(); }

CudaStream::CudaStream(int device, Priority priority) : device_(device) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    int least = 0, greatest = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check_cuda(
        cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, priority == Priority::high ? greatest : least),
        "cudaStreamCreateWithPriority");
}

CudaStream::~CudaStream() {
    (void)cudaStreamDestroy(stream_);
}  // returns at once; the stream goes when its work is done

void CudaStream::wait(const CudaEvent& event) const {
    check_cuda(cudaStreamWaitEvent(stream_, event.get(), 0), "cudaStreamWaitEvent");
}

}  // namespace smp::comms
