// What has become slower or faster since an earlier result.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "launch/bench/measurement.h"
#include "launch/bench/statistics.h"

namespace smp::launch {

/// A row of an earlier result: which configuration it is of, and what its steps took.
struct BaselineRow {
    std::vector<std::string> sets;
    int ranks = 1;
    Spread seconds = {};
    std::string configuration = {};  // lines "section.key=value"
};

struct Baseline {
    std::string origin;  // the file
    std::vector<BaselineRow> rows;

    /// Of the same overrides, in any order, on as many ranks; null: there is none.
    const BaselineRow* row_of(const Measurement& measurement) const;
};

/// Throws runtime::DataError for a file that is not there or no result of a benchmark job in JSON.
Baseline read_baseline(const std::filesystem::path& file);

enum class Change { none, slower, faster };

/// Slower or faster where the medians are further apart than the sum of both half interquartile ranges, and than 2 %
/// of the median before.
Change change_of(const Spread& before, const Spread& now);

constexpr double kLeastChange = 0.02;
constexpr std::string_view kChangeRule =
    "slower or faster: the medians differ by more than half of both interquartile ranges together and more than 2 %";

/// Sentences: what got slower, what got faster, what could not be compared, and what the jobs differ in.
struct Changes {
    std::vector<std::string> sentences;
    std::size_t slower = 0;
};
Changes changes_since(const Baseline& baseline, const std::vector<Measurement>& rows);

}  // namespace smp::launch
