#include "runtime/resident_memory.h"

#include <cerrno>
#include <sys/resource.h>
#include <system_error>

#include <ATen/ops/full.h>

namespace smp::runtime {

std::int64_t peak_resident_bytes() {
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) throw std::system_error(errno, std::generic_category(), "getrusage");
    return std::int64_t{1024} * usage.ru_maxrss;
}

std::int64_t largest_resident_memory(comms::Communicator& world) {
    const at::Tensor bytes = at::full({1}, peak_resident_bytes(), at::kLong);
    comms::all_reduce(world, bytes, comms::Reduction::max).wait();
    return bytes.const_data_ptr<std::int64_t>()[0];
}

}  // namespace smp::runtime
