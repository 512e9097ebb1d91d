#include "launch/command/text_table.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace smp::launch {

namespace {

struct Unit {
    double size;
    const char* name;
};

/// In the largest unit that leaves 1 or more, with three digits that count; whole in the smallest.
std::string in_units(double value, std::span<const Unit> units) {
    std::size_t i = units.size() - 1;
    while (i > 0 && value < units[i].size) --i;
    const double scaled = value / units[i].size;
    const int decimals = i == 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
    return fmt::format("{:.{}f}{}", scaled, decimals, units[i].name);
}

}  // namespace

std::string text_table(const std::vector<std::vector<std::string>>& rows, std::size_t left_columns) {
    std::vector<std::size_t> widths(rows.front().size(), 0);
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) widths.at(i) = std::max(widths[i], row[i].size());
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (i > 0) line += "  ";
            line +=
                i < left_columns ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("{:>{}}", row[i], widths[i]);
        }
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    }
    return text;
}

std::string shown_count(double count) {
    constexpr Unit units[] = {{1, ""}, {1e3, " k"}, {1e6, " M"}, {1e9, " B"}};
    return in_units(count, units);
}

std::string shown_si(double value) {
    constexpr Unit units[] = {{1, ""}, {1e3, " k"}, {1e6, " M"}, {1e9, " G"}, {1e12, " T"}, {1e15, " P"}};
    return in_units(value, units);
}

std::string shown_seconds(double seconds) {
    constexpr Unit units[] = {{1e-9, " ns"}, {1e-6, " us"}, {1e-3, " ms"}, {1, " s"}};
    return in_units(seconds, units);
}

std::string shown_percent(double fraction) { return fmt::format("{:.1f} %", 1e2 * fraction); }

std::string counted(std::int64_t count, const std::string& noun) {
    const bool takes_es = noun.ends_with("ch");
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : takes_es ? "es" : "s");
}

}  // namespace smp::launch
