#include "runtime/files/sum128.h"

#include <new>
#include <xxhash.h>

#include <fmt/format.h>

namespace smp::runtime {

namespace {

std::string hexadecimal(const XXH128_hash_t& sum) { return fmt::format("{:016x}{:016x}", sum.high64, sum.low64); }

}  // namespace

struct Sum128::State {
    XXH3_state_t* xxh = XXH3_createState();
    ~State() { XXH3_freeState(xxh); }
};

Sum128::Sum128() : state_(std::make_unique<State>()) {
    if (state_->xxh == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(state_->xxh);
}
Sum128::~Sum128() = default;

void Sum128::update(std::span<const std::byte> bytes) { XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size()); }

std::string Sum128::take() {
    const std::string sum = hexadecimal(XXH3_128bits_digest(state_->xxh));
    XXH3_128bits_reset(state_->xxh);
    return sum;
}

std::string sum128(std::span<const std::byte> bytes) { return hexadecimal(XXH3_128bits(bytes.data(), bytes.size())); }

}  // namespace smp::runtime
