// What a configuration file and its overrides state, before anything is read into an option struct: known keys with
// their values and where they come from.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "launch/config/key.h"
#include "partition/job/problem.h"

namespace smp::launch {

struct Statement {
    Json value;
    std::string origin;          // the file, or "--set"
    std::filesystem::path base;  // absolute; relative paths in the value start here
};

/// By path of the key ("parallel.microbatches"); an alias is found under the key's own name.
using Statements = std::map<std::string, Statement>;

/// Unknown sections and names, keys that stand twice and overrides that are none are added to `problems`. Throws
/// partition::ConfigError for a file that is no JSON.
Statements read_statements(const std::filesystem::path& file, const std::vector<std::string>& sets,
                           std::vector<partition::Problem>& problems);

}  // namespace smp::launch
