// How calls end: with CUDA's codes, and with a name where the stand-in has nothing.
#pragma once

#include <string>

#include <cuda_runtime_api.h>

#include "tests/standin/settings.h"

namespace smp::standin {

/// Says on stderr, and in cudaGetErrorString of `code` on this thread from now on, what is not there.
cudaError_t refuse(const std::string& sentence, cudaError_t code = cudaErrorNotSupported);

/// The same of a whole function, for refused.cpp.
int refuse_cuda(const char* name);

/// For cudaGetLastError; passes `code` on.
cudaError_t keep(cudaError_t code);

/// The current device of this thread.
int& current_device();

/// An entry point's body, unless something is planted for it.
template <typename Body>
cudaError_t call(const char* name, Body body) {
    if (const auto result = planted(name, current_device())) return keep(static_cast<cudaError_t>(*result));
    return keep(body());
}

}  // namespace smp::standin
