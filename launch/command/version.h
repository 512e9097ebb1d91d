// What a program is made of and what it found: --version.
#pragma once

#include <string>

namespace smp::launch {

/// "smp_train 0.1.0", then a line each for LibTorch, MPI, NCCL, CUDA and the devices of this machine.
std::string version_text(const std::string& program);

}  // namespace smp::launch
