#include "comms/backends/nccl_library.h"

#include <fmt/format.h>

#include "comms/communicator.h"

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

void check_nccl_version() {
    int version = 0;
    check_nccl(ncclGetVersion(&version), "ncclGetVersion");
    if (version != NCCL_VERSION_CODE)
        throw CommunicationError(
            fmt::format("NCCL {} is loaded, this program was built for {}; LibTorch brings the right one: take foreign "
                        "folders out of LD_LIBRARY_PATH",
                        version_text(version), version_text(NCCL_VERSION_CODE)));
}

}  // namespace smp::comms
