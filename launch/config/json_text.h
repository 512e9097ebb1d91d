// JSON text as people write it: with comments, and with mistakes that deserve a sentence.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/config/key.h"
#include "partition/job/problem.h"

namespace smp::launch {

/// The object in a file. Comments (// and /* */) are skipped. A key that stands twice in one object is a problem added
/// to `problems`; the last one counts. Throws partition::ConfigError if the file cannot be read, is not JSON (with line
/// and column), or holds no object.
Json read_json_object(const std::filesystem::path& file, std::vector<partition::Problem>& problems);

/// A value in a message: on one line, shortened in the middle of long ones.
std::string shown_json(const Json& value);

}  // namespace smp::launch
