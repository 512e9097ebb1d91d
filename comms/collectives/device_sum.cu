#include <algorithm>
#include <stdexcept>
#include <string>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "comms/collectives/device_sum.h"

namespace smp::comms {

template <typename Narrow, typename Wide>
__global__ void combine_pointers(const __grid_constant__ DeviceSum sum) {
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < sum.numel; i += step) {
        const auto term = [&](int input) {
            return static_cast<Wide>(static_cast<const Narrow*>(sum.inputs[input])[i]);
        };
        const bool goes_on = sum.so_far != nullptr;
        Wide result = goes_on ? static_cast<const Wide*>(sum.so_far)[i] : term(0);
        for (int input = goes_on ? 0 : 1; input < sum.input_count; ++input) {
            const Wide value = term(input);
            if (!sum.maximum)
                result += value;
            else if (value > result || value != value)
                result = value;
        }
        if (sum.carried != nullptr) static_cast<Wide*>(sum.carried)[i] = result;
        for (int output = 0; output < sum.output_count; ++output)
            static_cast<Narrow*>(sum.outputs[output])[i] = static_cast<Narrow>(result);
    }
}

namespace {

template <typename Narrow, typename Wide = Narrow>
void launch(const DeviceSum& sum, cudaStream_t stream) {
    constexpr int kThreads = 256;
    constexpr std::int64_t kMostBlocks = 1024;  // beside compute: what it moves bounds it, not its threads
    const std::int64_t blocks = std::min(kMostBlocks, (sum.numel + kThreads - 1) / kThreads);
    combine_pointers<Narrow, Wide><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(sum);
}

void require(cudaError_t error, const char* what) {
    if (error != cudaSuccess)
        throw std::runtime_error(std::string("the kernel of a reduction could not be ") + what + ": " +
                                 cudaGetErrorString(error));
}

template <typename Narrow, typename Wide = Narrow>
void load() {
    cudaFuncAttributes unused{};
    require(cudaFuncGetAttributes(&unused, combine_pointers<Narrow, Wide>), "loaded");
}

}  // namespace

void combine_on_device(const DeviceSum& sum, void* stream) {
    if (sum.numel == 0) return;
    const auto on = static_cast<cudaStream_t>(stream);
    switch (sum.type) {
        case NumberType::float32: launch<float>(sum, on); break;
        case NumberType::float64: launch<double>(sum, on); break;
        case NumberType::float16: launch<__half, float>(sum, on); break;
        case NumberType::bfloat16: launch<__nv_bfloat16, float>(sum, on); break;
        case NumberType::int32: launch<std::int32_t>(sum, on); break;
        case NumberType::int64: launch<std::int64_t>(sum, on); break;
    }
    require(cudaGetLastError(), "launched");
}

void load_device_sums() {
    load<float>();
    load<double>();
    load<__half, float>();
    load<__nv_bfloat16, float>();
    load<std::int32_t>();
    load<std::int64_t>();
}

}  // namespace smp::comms
