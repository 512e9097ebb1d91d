// NCCL's errors as sentences.
#pragma once

#include <string>

#include <nccl.h>

namespace smp::comms {

/// Throws CommunicationError: operation, what NCCL says, its version, the probable cause and what to do. ncclInProgress
/// is no error.
void check_nccl(ncclResult_t code, const std::string& operation, ncclComm_t comm = nullptr);
/// Throws CommunicationError where the library loaded is another than the headers this was compiled with.
void check_nccl_version();

}  // namespace smp::comms
