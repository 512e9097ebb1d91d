// What the command lines of all programs with a configuration have in common.
#pragma once

#include <string>
#include <vector>

#include <cxxopts.hpp>

namespace smp::launch {

/// Throws partition::ConfigError about an option (or another part) of the command line.
[[noreturn]] void refuse_argument(const std::string& option, const std::string& message);

/// Values of all --set options, each as it was given: cxxopts itself would split "a,b=c" at the comma.
std::vector<std::string> sets_of(const cxxopts::ParseResult& parsed);

}  // namespace smp::launch
