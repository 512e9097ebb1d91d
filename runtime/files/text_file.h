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

/// The same without waiting for the disk: after a crash of the machine the file may be an old one or empty. For what
/// shows a run that other ranks wait for. Throws DataError.
void write_text_soon(const std::filesystem::path& path, std::string_view text);

}  // namespace smp::runtime
