#include "tests/seed.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace smp::testing {

std::uint64_t seed() {
    const char* given = std::getenv("SMP_SEED");
    if (given == nullptr) return 1;
    const std::string_view text(given);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        std::fprintf(stderr, "SMP_SEED is \"%s\"; it must be a whole number from 0 to 18446744073709551615.\n", given);
        std::exit(2);
    }
    return value;
}

void announce_seed() {
    const std::string value = std::to_string(seed());
    ::setenv("RC_PARAMS", ("seed=" + value).c_str(), /*overwrite=*/0);
    std::printf("SMP_SEED=%s (RC_PARAMS=\"%s\")\n", value.c_str(), std::getenv("RC_PARAMS"));
    std::fflush(stdout);
}

}  // namespace smp::testing
