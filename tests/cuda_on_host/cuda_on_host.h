// Runs the kernels of our .cu files without a GPU: the blocks of a grid one after another, the threads of a block as
// fibers of the calling thread. A fiber runs until it waits for its block or warp, or ends; who goes on next is drawn,
// so that numbers change where a barrier is missing. What it shows is the kernels' own indexing and order; what it
// does not: speed, limits of a device (registers, shared memory), the memory model between blocks.
//
// x86-64 only. Under the thread sanitizer the fibers are the thread that they run on (CMakeLists.txt); the address
// sanitizer does not know their stacks.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>

namespace smp::testing::cuda_on_host {

struct Extent {
    unsigned x = 1, y = 1, z = 1;
    Extent(unsigned along_x = 1, unsigned along_y = 1, unsigned along_z = 1)  // NOLINT(google-explicit-constructor)
        : x(along_x), y(along_y), z(along_z) {}
};

/// Runs `kernel` to its end for each thread of each block, when in_stream() would; exceptions may not leave it. A block
/// whose threads wait for one another at different places is an error: std::logic_error says where.
void run(Extent blocks, Extent threads, void* stream, std::function<void()> kernel);
/// Does `task` at once, or, where there is a queue, hands it on to that with its stream.
void in_stream(void* stream, std::function<void()> task);
using Queue = void (*)(void* stream, std::function<void()> task);
void set_queue(Queue queue);
/// What is called ahead of each start of a kernel, `kernel` being its name; a product's has its type and shape in it.
/// CUDA loads a kernel when it is started first.
using Loader = void (*)(const std::string& kernel);
void set_loader(Loader loader);
void load(const std::string& kernel);
template <class Kernel>
std::string name_of(Kernel* kernel) {
    return std::to_string(reinterpret_cast<std::uintptr_t>(kernel));
}
/// Of the order in which fibers go on.
void set_seed(std::uint64_t seed);

// What a running kernel asks.

struct Place {
    Extent thread, block;
};
const Place& place();
void wait_for_block();
bool any_of_block(bool predicate);
/// The `bits` of the lane whose number differs by `lane_mask`. All 32 lanes must take part: `mask` is all ones.
std::uint64_t exchange_in_warp(unsigned mask, std::uint64_t bits, int lane_mask);

constexpr int kLanes = 32;
using OfLanes = std::array<const void*, kLanes>;
/// What the lanes of this warp name, each its own; it stays until all have called leave_warp().
OfLanes meet_warp(const void* own);
void leave_warp();
/// f(what each of the 32 lanes names). All must take part.
template <class F>
void in_warp(const void* own, const F& f) {
    const OfLanes lanes = meet_warp(own);
    f(lanes.data());
    leave_warp();
}

}  // namespace smp::testing::cuda_on_host
