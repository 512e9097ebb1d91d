// JSON text as people write it: with comments, and with mistakes that deserve a sentence.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/config/key.h"
#include "partition/job/problem.h"

namespace smp::launch {

/// The object in a file. Comments (// and /* */) are skipped. A key that stands twice in one object is a problem added
/// to `problems`; the last one counts. Throws partition::ConfigError if the file cannot be read, is no regular file,
/// not JSON (with line and column), holds no object, or is far larger or deeper than any configuration.
Json read_json_object(const std::filesystem::path& file, std::vector<partition::Problem>& problems);

/// The value that a text is, or one that is_discarded() where it is no JSON or nests deeper than a configuration may.
Json parse_json_value(const std::string& text);

/// A value in a message: on one line, shortened in the middle of long ones.
std::string shown_json(const Json& value);

}  // namespace smp::launch
