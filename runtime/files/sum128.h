// XXH3-128 (xxhash.com): finds what a disk, a network or a person changed; no defence against forgery.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace smp::runtime {

class Sum128 {
  public:
    Sum128();
    ~Sum128();
    Sum128(const Sum128&) = delete;
    Sum128& operator=(const Sum128&) = delete;

    void update(std::span<const std::byte> bytes);
    /// Of all bytes since construction or the last call of this, as 32 hexadecimal digits in the canonical order.
    std::string take();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

std::string sum128(std::span<const std::byte> bytes);

}  // namespace smp::runtime
