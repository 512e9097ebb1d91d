// Text that comes from files, names and samples, as a terminal and a log may show it.
#pragma once

#include <string>
#include <string_view>

namespace smp::runtime {

/// Line breaks and tabs stay; other control characters (C0, DEL, C1), marks that turn the direction of writing, and
/// bytes that are no UTF-8 become "\x1b" and the like. So nothing that is shown moves a cursor or hides what follows.
std::string escaped(std::string_view text);

/// A message to a person: escaped, long lines cut in their middle and many lines after the first ones, with what was
/// left out said.
std::string readable_message(std::string_view text);

}  // namespace smp::runtime
