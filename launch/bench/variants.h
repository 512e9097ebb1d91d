// The configurations that a benchmark job compares: one job under several overrides.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace smp::launch {

struct Variant {
    std::string name;               // for people: "microbatches=4, pipeline=simple"
    std::vector<std::string> sets;  // SECTION.KEY=VALUE, in order

    bool operator==(const Variant&) const = default;
};

/// "parallel.microbatches=1,2" as its overrides, one a value: "parallel.microbatches=1", "parallel.microbatches=2".
/// Commas inside brackets, braces and quotes are part of a value. Throws partition::ConfigError for what is no sweep,
/// a value that is empty or occurs twice, and brackets that do not close.
std::vector<std::string> overrides_of_sweep(const std::string& sweep);

/// What a file that looks like a configuration overrides. Paths in it start, as in --set, at the working directory.
/// Throws partition::ConfigError as read_json_object does.
Variant variant_of_file(const std::filesystem::path& file);

/// Every combination of one of `files` (where there are any) and one value of each sweep; the last sweep varies
/// fastest. Without either the job alone, "as configured". Throws as the two above, and for more than a thousand.
std::vector<Variant> variants_of(const std::vector<std::string>& sweeps, const std::vector<std::string>& files);

/// Throws partition::ConfigError with all sections and keys that there are not, in the configuration, in `sets` and in
/// the variants, with the nearest known ones, and where an override is none.
void require_known_keys(const std::filesystem::path& configuration, const std::vector<std::string>& sets,
                        const std::vector<Variant>& variants);

}  // namespace smp::launch
