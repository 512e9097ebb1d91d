// metrics.jsonl as columns.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace smp::launch {

struct MetricsColumn {
    std::string name;
    std::vector<double> values;  // a line each; NaN where the line has no number of that name
};

struct MetricsTable {
    std::vector<double> steps;           // of each line
    std::vector<MetricsColumn> columns;  // in the order in which they first stand in the file; `step` is not among them

    const MetricsColumn* find(std::string_view name) const;
};

/// Whatever numbers the lines have, so that a new column shows by itself. Lines without a step, and one that is torn,
/// are left out; without the file the table is empty.
MetricsTable read_metrics(const std::filesystem::path& file);

}  // namespace smp::launch
