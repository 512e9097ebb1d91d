// The configuration of a job: what a JSON file, overrides and defaults say together.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/gpt2/options.h"
#include "runtime/job/job.h"

namespace smp::launch {

/// A job, and what the file said besides. Loaded configurations are resolved: no value is left to a rule but those that
/// only the machine can answer (threads_per_rank, device); paths are absolute.
struct Config : runtime::Job {
    /// Its model has the spec of section `model`'s defaults, until model_from_section().
    Config();

    models::Gpt2Options gpt2;  // section `model`
    /// Makes what section `model` says the job's model: its spec, which is all that planning needs.
    void model_from_section();

    /// One line each for a key that was accepted and changes nothing. No part of what the job does.
    std::vector<std::string> notes;

    /// Ranks of the job.
    int world() const;
};

/// Reads `file` (JSON with comments), applies `sets` ("SECTION.KEY=VALUE", in order: a later one wins), fills in
/// defaults and checks everything. `ranks` is the size of the world that will run the job, where that is known; else it
/// is what the configuration states, by default one model replica. Relative paths start at the file's folder, in `sets`
/// at the working directory.
/// Throws partition::ConfigError with all problems at once; a file that is no JSON has one, with line and column.
Config load_config(const std::filesystem::path& file, const std::vector<std::string>& sets,
                   std::optional<int> ranks = std::nullopt);

/// As a configuration file that states every key: loading it gives the same configuration, and the same text again.
std::string to_json(const Config& config);

/// One line "section.key=value" for each key, sorted, values as JSON: equal for equal configurations, so that ranks can
/// compare theirs and name the key that differs.
std::string canonical_text(const Config& config);

/// The keys of `section`, of all sections where it is empty, with type, limits, default and meaning, in lines of at
/// most `width` columns (40 at least), for --help. Throws partition::ConfigError if there is no such section.
std::string keys_help(const std::string& section, std::size_t width);

/// Names that `model.preset` knows besides paths.
std::vector<std::string> preset_names();

}  // namespace smp::launch
