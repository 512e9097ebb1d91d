#include "tests/standin/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "tests/standin/kernels.h"

namespace smp::standin {

namespace {

std::int64_t number_of_environment(const char* name, std::int64_t otherwise) {
    const char* text = std::getenv(name);
    if (text == nullptr) return otherwise;
    std::int64_t number = otherwise;
    std::from_chars(text, text + std::strlen(text), number);
    return number;
}

struct Delay {
    std::atomic<std::int64_t> microseconds{number_of_environment("SMP_STANDIN_DELAY_US", 0)};
    std::atomic<std::uint64_t> seed{static_cast<std::uint64_t>(number_of_environment("SMP_SEED", 1))};
    std::atomic<std::uint64_t> sources{0};
};
Delay& delay() {
    static auto* const only = new Delay;  // never destroyed: threads of streams outlive main
    return *only;
}

struct Planted {
    std::string call, communicator;
    int device, result;
    bool stalls;
    std::atomic<int> left;                // calls that go well before
    std::atomic<bool> taken_back{false};  // by then nothing waits here
};
// As many as a test needs; never destroyed, since calls look at them at any time.
std::array<std::atomic<Planted*>, 16>& plants() {
    static auto* const all = new std::array<std::atomic<Planted*>, 16>{};
    return *all;
}

HostWaits host_waits(int device) {
    const Counts& of = counts(device);
    return {.stream = of.streams,
            .device = of.devices,
            .event = of.events,
            .copies = of.copies,
            .frees = of.frees,
            .polled = of.polled};
}

void plant(const Plant& wish) {
    auto* const made = new Planted{.call = wish.call,
                                   .communicator = wish.communicator,
                                   .device = wish.device,
                                   .result = wish.result,
                                   .stalls = wish.stalls,
                                   .left = wish.after};
    for (auto& place : plants()) {
        Planted* free = nullptr;
        if (place.compare_exchange_strong(free, made)) return;
    }
    std::abort();  // more than a test needs
}

struct IgnoredJoins {
    std::string waiting, awaited;
};
std::atomic<const IgnoredJoins*>& ignored_joins() {
    static std::atomic<const IgnoredJoins*> only{nullptr};
    return only;
}

void ignore_joins(const char* waiting, const char* awaited) {
    ignored_joins() = new IgnoredJoins{waiting, awaited};  // never destroyed, since calls look at it at any time
}

void take_back() {
    ignored_joins() = nullptr;
    hold_back(nullptr);
    for (auto& place : plants())
        if (Planted* const there = place.exchange(nullptr)) there->taken_back = true;
}

}  // namespace

int device_count() {
    static const auto count =
        static_cast<int>(std::clamp<std::int64_t>(number_of_environment("SMP_STANDIN_DEVICES", 8), 0, kMostDevices));
    return count;
}

std::int64_t device_bytes() {
    static const std::int64_t bytes = number_of_environment("SMP_STANDIN_BYTES", std::int64_t{256} << 20);
    return bytes;
}

std::chrono::milliseconds patience() {
    return std::chrono::milliseconds(number_of_environment("SMP_STANDIN_PATIENCE_MS", 10'000));
}

Delays::Delays() : number_(delay().sources.fetch_add(1, std::memory_order_relaxed)) {}

void Delays::sleep() {
    const std::int64_t longest = delay().microseconds.load(std::memory_order_relaxed);
    if (longest <= 0) return;
    const std::uint64_t seed = delay().seed.load(std::memory_order_relaxed);
    if (seed != seed_) draw_.seed(1000 * (seed_ = seed) + number_);
    // Half of the tasks begin at once: what has no delay anywhere overtakes what has.
    const auto drawn = static_cast<std::int64_t>(draw_() % static_cast<std::uint64_t>(2 * longest)) - longest;
    if (drawn > 0) std::this_thread::sleep_for(std::chrono::microseconds(drawn));
}

Counts& counts(int device) {
    static auto* const all = new std::array<Counts, kMostDevices>;
    return (*all)[static_cast<std::size_t>(std::clamp(device, 0, kMostDevices - 1))];
}

std::optional<int> planted(const char* call, int device, const std::string& communicator) {
    for (auto& place : plants()) {
        Planted* const there = place.load(std::memory_order_acquire);
        if (there == nullptr || there->call != call || (there->device >= 0 && there->device != device) ||
            (!there->communicator.empty() && there->communicator != communicator))
            continue;
        if (there->left.fetch_sub(1) > 0) continue;
        if (!there->stalls) return there->result;
        while (!there->taken_back) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return std::nullopt;
    }
    return std::nullopt;
}

bool join_is_ignored(const std::string& waiting, const std::string& awaited) {
    const IgnoredJoins* const ignored = ignored_joins().load(std::memory_order_acquire);
    return ignored != nullptr && ignored->waiting == waiting && ignored->awaited == awaited;
}

}  // namespace smp::standin

extern "C" const smp::standin::Control* smp_cuda_standin() {
    using namespace smp::standin;
    static const Control control{
        .delay =
            [](std::uint64_t seed, std::int64_t microseconds) {
                delay().seed = seed;
                delay().microseconds = microseconds;
            },
        .host_waits = host_waits,
        .events_created = [](int device) { return counts(device).events_created.load(); },
        .bytes_in_use = bytes_in_use,
        .pinned_bytes = pinned_bytes,
        .joins = joins,
        .plant = plant,
        .ignore_joins = ignore_joins,
        .hold_back = hold_back,
        .take_back = take_back,
        .load_kernel = load_kernel,
        .unload_kernels = unload_kernels,
        .fail_communicators = fail_communicators,
        .waiting_kernels = waiting_kernels,
        .events_recorded = [](int device) { return counts(device).events_recorded.load(); },
        .events_queried = [](int device) { return counts(device).events_queried.load(); },
    };
    return &control;
}
