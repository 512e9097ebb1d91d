#include "tests/cuda_on_host/cuda_on_host.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace smp::testing::cuda_on_host {

namespace {

constexpr unsigned kWarp = kLanes;
constexpr std::size_t kStackBytes = std::size_t{256} << 10;  // a report of the thread sanitizer takes most of it

// Saves what a call must keep on the own stack, and goes on on another one.
extern "C" void smp_switch_stack(void** own, void* other);
asm(R"(
    .text
    .type smp_switch_stack, @function
smp_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size smp_switch_stack, .-smp_switch_stack
)");

enum class State { ready, at_block, at_warp, ended };

struct Fiber {
    Place place;
    State state = State::ready;
    void* stack_pointer = nullptr;
    std::uint64_t sent = 0;
};

/// Numbers for std::shuffle, of which a grid takes millions: SplitMix64.
struct Order {
    using result_type = std::uint64_t;
    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return ~result_type{0}; }
    result_type operator()() {
        std::uint64_t z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
    std::uint64_t state = 1;
};

/// Kept from grid to grid: fresh memory would be most of what a small one takes.
std::byte* stacks_of_this_thread(std::size_t count) {
    static thread_local std::unique_ptr<std::byte[]> stacks;
    static thread_local std::size_t made = 0;
    if (count > made) stacks = std::make_unique_for_overwrite<std::byte[]>((made = count) * kStackBytes);
    return stacks.get();
}

/// One at a time in a thread.
class Block {
  public:
    Block(Extent threads, const std::function<void()>& kernel) : threads_(threads), kernel_(kernel) {
        const std::size_t count = std::size_t{threads.x} * threads.y * threads.z;
        fibers_.resize(count);
        stacks_ = stacks_of_this_thread(count);
    }

    void run(Extent block, Order& random) {
        any_ = any_next_ = false;
        for (std::size_t i = 0; i < fibers_.size(); ++i) start(i, block);
        while (true) {
            ready_.clear();
            for (std::size_t i = 0; i < fibers_.size(); ++i)
                if (fibers_[i].state == State::ready) ready_.push_back(i);
            if (ready_.empty() && !release()) return;
            std::shuffle(ready_.begin(), ready_.end(), random);
            for (const std::size_t i : ready_) {
                current_ = i;
                smp_switch_stack(&scheduler_, fibers_[i].stack_pointer);
            }
        }
    }

    Fiber& current() { return fibers_[current_]; }
    void wait(State state) {
        Fiber& own = current();
        own.state = state;
        smp_switch_stack(&own.stack_pointer, scheduler_);
    }
    bool any(bool predicate) {
        any_next_ = any_next_ || predicate;
        wait(State::at_block);
        return any_;
    }
    std::uint64_t exchange(std::uint64_t bits, int lane_mask) {
        const std::size_t own = current_;
        fibers_[own].sent = bits;
        wait(State::at_warp);
        const std::uint64_t received =
            fibers_[own / kWarp * kWarp + (own % kWarp ^ static_cast<std::size_t>(lane_mask))].sent;
        wait(State::at_warp);  // until all have read
        return received;
    }
    OfLanes meet(const void* named) {
        const std::size_t first = current_ / kWarp * kWarp;
        current().sent = reinterpret_cast<std::uintptr_t>(named);
        wait(State::at_warp);
        OfLanes lanes;
        for (std::size_t i = 0; i < lanes.size(); ++i)
            lanes[i] = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(fibers_[first + i].sent));
        return lanes;
    }
    [[noreturn]] void run_current() {
        kernel_();
        wait(State::ended);
        std::abort();  // nobody goes on with it
    }

  private:
    void start(std::size_t i, Extent block);

    /// Of a block in which nobody can go on, whoever all others wait for. False where all have ended.
    bool release() {
        bool released = false, waits_for_block = false, waits_for_warp = false;
        for (std::size_t first = 0; first < fibers_.size(); first += kWarp) {
            const std::size_t last = std::min(first + kWarp, fibers_.size());
            std::size_t at_warp = 0;
            for (std::size_t i = first; i < last; ++i) at_warp += fibers_[i].state == State::at_warp ? 1 : 0;
            if (at_warp == kWarp) {
                for (std::size_t i = first; i < last; ++i) fibers_[i].state = State::ready;
                released = true;
            } else if (at_warp > 0) {
                waits_for_warp = true;
            }
        }
        if (released) return true;
        for (const Fiber& fiber : fibers_) waits_for_block = waits_for_block || fiber.state == State::at_block;
        if (waits_for_warp)
            throw std::logic_error("cuda_on_host: some lanes of a warp exchange values, and others do not come");
        if (!waits_for_block) return false;
        for (Fiber& fiber : fibers_)
            if (fiber.state == State::at_block) fiber.state = State::ready;
        any_ = std::exchange(any_next_, false);
        return true;
    }

    Extent threads_;
    const std::function<void()>& kernel_;
    std::vector<Fiber> fibers_;
    std::byte* stacks_;
    std::vector<std::size_t> ready_;
    void* scheduler_ = nullptr;
    std::size_t current_ = 0;
    bool any_ = false, any_next_ = false;
};

thread_local Block* running = nullptr;
thread_local Order order;
std::atomic<Queue> queue_of_streams = nullptr;
std::atomic<Loader> loader_of_kernels = nullptr;

extern "C" void smp_enter_fiber() { running->run_current(); }

void Block::start(std::size_t i, Extent block) {
    const auto x = static_cast<unsigned>(i % threads_.x), y = static_cast<unsigned>(i / threads_.x % threads_.y),
               z = static_cast<unsigned>(i / threads_.x / threads_.y);
    Fiber& fiber = fibers_[i];
    fiber = {.place = {.thread = {x, y, z}, .block = block}};
    auto top = reinterpret_cast<std::uintptr_t>(stacks_ + (i + 1) * kStackBytes) / 16 * 16;
    auto* words = reinterpret_cast<void**>(top);
    *--words = nullptr;  // where a return address would be: the stack is aligned as after a call
    *--words = reinterpret_cast<void*>(&smp_enter_fiber);  // where smp_switch_stack returns to
    for (int saved = 0; saved < 6; ++saved) *--words = nullptr;
    fiber.stack_pointer = words;
}

}  // namespace

void set_seed(std::uint64_t seed) { order = {seed}; }

void set_queue(Queue queue) { queue_of_streams = queue; }

void set_loader(Loader loader) { loader_of_kernels = loader; }

void load(const std::string& kernel) {
    if (const Loader loader = loader_of_kernels) loader(kernel);
}

void in_stream(void* stream, std::function<void()> task) {
    if (const Queue queue = queue_of_streams)
        queue(stream, std::move(task));
    else
        task();
}

void run(Extent blocks, Extent threads, void* stream, std::function<void()> kernel) {
    in_stream(stream, [blocks, threads, kernel = std::move(kernel)] {
        Block block(threads, kernel);
        running = &block;
        for (unsigned z = 0; z < blocks.z; ++z)
            for (unsigned y = 0; y < blocks.y; ++y)
                for (unsigned x = 0; x < blocks.x; ++x) block.run({x, y, z}, order);
        running = nullptr;
    });
}

const Place& place() { return running->current().place; }
void wait_for_block() { running->wait(State::at_block); }
bool any_of_block(bool predicate) { return running->any(predicate); }
OfLanes meet_warp(const void* own) { return running->meet(own); }
void leave_warp() { running->wait(State::at_warp); }
std::uint64_t exchange_in_warp(unsigned mask, std::uint64_t bits, int lane_mask) {
    if (mask != 0xFFFFFFFFU) throw std::logic_error("cuda_on_host: a warp exchanges values by all of its lanes");
    return running->exchange(bits, lane_mask);
}

}  // namespace smp::testing::cuda_on_host
