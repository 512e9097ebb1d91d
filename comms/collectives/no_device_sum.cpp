// Twin of device_sum.cu for builds without CUDA.
#include <stdexcept>

#include "comms/collectives/device_sum.h"

namespace smp::comms {

void combine_on_device(const DeviceSum&, void*) { throw std::logic_error("a CUDA tensor in a build without CUDA"); }
void load_device_sums() { throw std::logic_error("a CUDA device in a build without CUDA"); }

}  // namespace smp::comms
