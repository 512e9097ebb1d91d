#include "comms/backends/nccl_library.h"

#include <thread>

#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

namespace smp::comms {

namespace {

std::string version_text(int code) { return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100); }

std::string loaded_version() {
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version_text(version) : "of unknown version";
}

/// Probable cause and remedy.
const char* advice_for(ncclResult_t code) {
    switch (code) {
        case ncclUnhandledCudaError:
            return "a CUDA call inside NCCL failed: often an earlier kernel's fault or no memory left; look for the "
                   "first CUDA error, or run "
                   "with CUDA_LAUNCH_BLOCKING=1";
        case ncclSystemError:
            return "a call to the system failed: often the network, shared memory (/dev/shm too small) or a peer's "
                   "end; run with "
                   "NCCL_DEBUG=WARN to see which, and check NCCL_SOCKET_IFNAME";
        case ncclInternalError:
            return "NCCL contradicts itself: memory was overwritten, or it is a bug there; run with NCCL_DEBUG=WARN";
        case ncclInvalidArgument:
            return "an argument is wrong: a rank, a pointer that is not on this communicator's GPU; run with "
                   "NCCL_DEBUG=WARN";
        case ncclInvalidUsage:
            return "ranks do not fit together: two ranks on one GPU, another NCCL version on some node, or different "
                   "calls; give each rank "
                   "a GPU of its own";
        case ncclRemoteError: return "a peer ended or lost its connection: its own message tells why";
        default: return "run with NCCL_DEBUG=WARN for details";
    }
}

}  // namespace

void check_nccl(ncclResult_t code, const std::string& operation, ncclComm_t comm) {
    if (code == ncclSuccess || code == ncclInProgress) return;
    const char* detail = ncclGetLastError(comm);
    throw CommunicationError(fmt::format("{} failed: {}{}{} (NCCL {}); {}", operation, ncclGetErrorString(code),
                                         detail != nullptr && *detail != '\0' ? ", " : "",
                                         detail != nullptr ? detail : "", loaded_version(), advice_for(code)),
                             /*by_peer=*/code == ncclRemoteError);
}

void check_cuda(cudaError_t code, const std::string& operation) {
    if (code == cudaSuccess) return;
    throw CommunicationError(
        fmt::format("{} failed: {} ({})", operation, cudaGetErrorString(code), cudaGetErrorName(code)));
}

void check_nccl_version() {
    int version = 0;
    check_nccl(ncclGetVersion(&version), "ncclGetVersion");
    if (version != NCCL_VERSION_CODE)
        throw CommunicationError(
            fmt::format("NCCL {} is loaded, this program was built for {}; LibTorch brings the right one: take foreign "
                        "folders out of LD_LIBRARY_PATH",
                        version_text(version), version_text(NCCL_VERSION_CODE)));
}

CudaEvent::CudaEvent() {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
}

CudaEvent::~CudaEvent() { (void)cudaEventDestroy(event_); }

void CudaEvent::record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord"); }

bool CudaEvent::reached() const {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    check_cuda(code, "work on the GPU before a communication's end");
    return true;
}

CudaStream::CudaStream(int device) : device_(device) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    int least = 0, greatest = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check_cuda(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
}

CudaStream::~CudaStream() {
    (void)cudaStreamDestroy(stream_);
}  // returns at once; the stream goes when its work is done

NcclCommunicator::NcclCommunicator(const Seat& seat, const ncclUniqueId& id) : seat_(seat), stream_(seat.device) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(seat.device));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.commName = seat_.name.c_str();
    check_nccl(ncclCommInitRankConfig(&comm_, seat.size, id, seat.rank, &config), what("ncclCommInitRankConfig"));
    try {
        settle("ncclCommInitRankConfig");
    } catch (...) {
        give_up();
        throw;
    }
}

NcclCommunicator::NcclCommunicator(const Seat& seat, NcclCommunicator& parent, int color, int key)
    : seat_(seat), stream_(seat.device) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(seat.device));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.commName = seat_.name.c_str();
    check_nccl(ncclCommSplit(parent.get(), color, key, &comm_, &config), what("ncclCommSplit"), parent.get());
    parent.settle("ncclCommSplit");
    try {
        settle("ncclCommSplit");
    } catch (...) {
        give_up();
        throw;
    }
}

NcclCommunicator::~NcclCommunicator() {
    if (comm_ == nullptr) return;
    try {
        const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(seat_.device));
        check_nccl(ncclCommFinalize(comm_), what("ncclCommFinalize"), comm_);
        settle("ncclCommFinalize");
        check_nccl(ncclCommDestroy(comm_), what("ncclCommDestroy"), comm_);
    } catch (const std::exception&) {  // a destructor has nobody to tell
        give_up();
    }
}

std::string NcclCommunicator::what(const char* operation) const {
    return fmt::format("{} in '{}' (I am rank {}, GPU {})", operation, seat_.name, seat_.world_ranks[seat_.rank],
                       seat_.device);
}

void NcclCommunicator::settle(const char* operation) {
    const Clock::time_point start = Clock::now();
    for (;;) {
        ncclResult_t state = ncclSuccess;
        check_nccl(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError", comm_);
        if (state != ncclInProgress) return check_nccl(state, what(operation), comm_);
        const Clock::duration waited = Clock::now() - start;
        if (std::chrono::duration_cast<std::chrono::milliseconds>(waited) > seat_.limit.time)
            throw CommunicationError(fmt::format("{} did not complete within {}{}", what(operation),
                                                 readable(seat_.limit.time),
                                                 seat_.limit.key.empty() ? "" : " (" + seat_.limit.key + ")"));
        if (waited < std::chrono::milliseconds(1))
            std::this_thread::yield();
        else
            std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
}

void NcclCommunicator::check_asynchronous_errors() const {
    if (comm_ == nullptr) return;
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError", comm_);
    check_nccl(state, what("communication"), comm_);
}

void NcclCommunicator::give_up() noexcept {
    if (comm_ != nullptr) (void)ncclCommAbort(comm_);
    comm_ = nullptr;
}

}  // namespace smp::comms
