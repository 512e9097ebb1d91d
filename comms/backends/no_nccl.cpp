#include "comms/backends/nccl.h"

namespace smp::comms {

NcclGroups::NcclGroups(Communicator& world, int, NcclSums sums, std::function<void(const std::exception&)>)
    : world_(world), sums_(sums) {
    throw CommunicationError(
        "this program was built without CUDA and NCCL, so it cannot move tensors between GPUs; use cluster.device "
        "\"cpu\", or build with "
        "-DSMP_CUDA=ON where nvcc is installed");
}

std::unique_ptr<Communicator> NcclGroups::make(std::unique_ptr<Communicator>, NcclLinks) const { return nullptr; }

void NcclGroups::give_up() const noexcept {}

}  // namespace smp::comms
