// The sums of rank_order_sum.h on a CUDA device: one kernel that reads every input once. Without LibTorch, which nvcc
// does not parse.
#pragma once

#include <cstdint>

namespace smp::comms {

enum class NumberType { float32, float64, float16, bfloat16, int32, int64 };

/// Pointers of `numel` elements on the device, by value: a kernel's arguments have room for them. What has more terms
/// or results takes several kernels, each of which goes on from the accumulators of the one before.
struct DeviceSum {
    static constexpr int kMost = 128;

    NumberType type;
    bool maximum;  // instead of the sum
    int input_count, output_count;
    std::int64_t numel;
    // Accumulators, fp32 for numbers of 16 bits and else of their type; they may be the same memory.
    const void* so_far;  // where null, there is an input
    void* carried;       // for the next kernel; null: there is none
    const void* inputs[kMost];
    void* outputs[kMost];
};

/// Queues it on `stream`, a cudaStream_t of the current device. Throws std::runtime_error where that fails.
void combine_on_device(const DeviceSum& sum, void* stream);
/// The current device has the kernels from now on: one that is started first may wait for all that the device does
/// (CUDA C++ Programming Guide, "Lazy Loading"), and so for the very ranks that wait for this sum. Throws likewise.
void load_device_sums();

}  // namespace smp::comms
