// What --help says, by which all programs with a configuration are alike.
#pragma once

#include <cstddef>
#include <string>

#include <cxxopts.hpp>

namespace smp::launch {

/// Columns of the terminal that standard output is; elsewhere those that COLUMNS says, else 80. From 40 to 120.
std::size_t help_width();

/// Adds -h, --help [SECTION].
void add_help(cxxopts::Options& options);

/// What --help asks for: without a SECTION usage, options, `examples` (text as it stands) and all keys of a
/// configuration, with one the keys of that section. Throws partition::ConfigError for a section that there is not.
std::string help_text(cxxopts::Options& options, const cxxopts::ParseResult& parsed, const char* examples);

}  // namespace smp::launch
