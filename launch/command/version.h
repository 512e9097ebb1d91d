// What a program is made of and what it found: --version.
#pragma once

#include <string>
#include <vector>

namespace smp::launch {

/// "smp_train 0.1.0", then a line each for LibTorch, MPI, NCCL, CUDA, the processors of this machine and the CUDA
/// `devices` that a program which computes on them has found.
std::string version_text(const std::string& program, const std::vector<std::string>& devices = {});

}  // namespace smp::launch
