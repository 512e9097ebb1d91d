// What the command lines of all programs with a configuration have in common.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <cxxopts.hpp>

namespace smp::launch {

/// Throws partition::ConfigError about an option (or another part) of the command line.
[[noreturn]] void refuse_argument(const std::string& option, const std::string& message);

/// All values of an option that may be repeated, each as it was given: cxxopts itself would split "a,b=c" at the comma.
std::vector<std::string> all_of(const cxxopts::ParseResult& parsed, std::string_view option);

}  // namespace smp::launch
