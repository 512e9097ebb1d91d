#include "launch/command/version.h"

#include <thread>

#include <fmt/format.h>

#include "launch/build_facts.h"

namespace smp::launch {

std::string version_text(const std::string& program) {
    return fmt::format(
        "{} {} ({})\n"
        "LibTorch {}\n"
        "MPI      {}\n"
        "NCCL     {}\n"
        "CUDA     {}\n"
        "devices  {} processors\n",
        program, kVersion, kBuildType, kLibTorchVersion, kMpiVersion, kNcclVersion, kCudaVersion,
        std::thread::hardware_concurrency());
}

}  // namespace smp::launch
