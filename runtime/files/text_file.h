// Small files of text, whole.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace smp::runtime {

/// Nothing where it is not there or cannot be read.
std::optional<std::string> read_text(const std::filesystem::path& path);

/// Complete under its name or not there; replaces what has the name. Throws DataError.
void write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace smp::runtime
