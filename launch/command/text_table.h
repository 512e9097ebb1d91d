// Tables and quantities as a terminal shows them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace smp::launch {

/// Lines of a table: the first row is its head, all rows have as many cells. Cells are as wide as the widest of their
/// column, two spaces apart, numbers to the right: all columns but the first `left_columns` are right-aligned. No
/// spaces at the ends of lines.
std::string text_table(const std::vector<std::vector<std::string>>& rows, std::size_t left_columns = 1);

/// "950", "1.50 k", "124 M", "60.1 B".
std::string shown_count(double count);
/// "950", "1.50 k", "638 G", "100 T": in front of a unit, as in "100 TFLOP/s".
std::string shown_si(double value);
/// "850 ns", "1.25 us", "12.3 ms", "4.50 s".
std::string shown_seconds(double seconds);
/// "12.5 %", of a fraction.
std::string shown_percent(double fraction);
/// "1 stage", "4 stages", "2 microbatches".
std::string counted(std::int64_t count, const std::string& noun);

}  // namespace smp::launch
