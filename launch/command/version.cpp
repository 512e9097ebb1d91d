#include "launch/command/version.h"

#include <thread>

#include <fmt/format.h>

#include "launch/build_facts.h"

namespace smp::launch {

std::string version_text(const std::string& program, const std::vector<std::string>& devices) {
    std::string text = fmt::format(
        "{} {} ({})\n"
        "LibTorch {}\n"
        "MPI      {}\n"
        "NCCL     {}\n"
        "CUDA     {}\n"
        "devices  {} processors\n",
        program, kVersion, kBuildType, kLibTorchVersion, kMpiVersion, kNcclVersion, kCudaVersion,
        std::thread::hardware_concurrency());
    for (std::size_t i = 0; i < devices.size(); ++i) text += fmt::format("         cuda:{} {}\n", i, devices[i]);
    return text;
}

}  // namespace smp::launch
