// Sentences on a narrow terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace smp::runtime {

/// `text` in lines of at most `columns` characters, broken between words; those behind a line's first are indented by
/// `indent` columns, by less where that would leave a third of the terminal or less. What has no space in it stays
/// whole, a path can be copied. 0 columns: as it is. UTF-8, each character of one column.
std::string folded(std::string_view text, std::size_t columns, std::size_t indent);

}  // namespace smp::runtime
