// What libFuzzer calls; SMP_FUZZ_TARGET is one of the functions of targets.h.
#include <cstdint>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    smp::testing::SMP_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
    return 0;
}
