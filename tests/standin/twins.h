// What kernels of ours do on the CPU: one task of a stream.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include <cuda_runtime_api.h>

namespace smp::standin {

struct Twin {
    std::string_view kernel;  // how its name begins: "void smp::comms::add<"
    std::vector<std::size_t> argument_bytes;
    void (*run)(dim3 grid, dim3 block, const void* const* arguments);
};

/// Null where there is none.
const Twin* twin_of(std::string_view kernel);

}  // namespace smp::standin
