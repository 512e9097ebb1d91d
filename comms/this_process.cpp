#include "comms/this_process.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <unistd.h>

namespace smp::comms {

std::string host_name() {
    std::array<char, 256> name{};  // HOST_NAME_MAX is 64 on Linux, POSIX allows 255
    if (::gethostname(name.data(), name.size() - 1) != 0) return "an unnamed host";
    return name.data();
}

std::optional<int> number_in_environment(const char* variable) {
    const char* text = std::getenv(variable);
    if (text == nullptr) return std::nullopt;
    const std::string_view digits(text);
    int number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return number;
}

}  // namespace smp::comms
