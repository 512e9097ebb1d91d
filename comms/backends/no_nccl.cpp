#include "comms/communicator.h"

namespace smp::comms {

std::unique_ptr<Communicator> nccl_world(Communicator&, int, const CommunicatorOptions&) {
    throw CommunicationError(
        "this program was built without CUDA and NCCL, so it cannot move tensors between GPUs; use cluster.device "
        "\"cpu\", or build with "
        "-DSMP_CUDA=ON where nvcc is installed");
}

}  // namespace smp::comms
