// The known names that a misspelt one most likely stands for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace smp::launch {

/// Fewest insertions, deletions, substitutions and swaps of neighbours that turn one into the other, none of them
/// inside a swapped pair (optimal string alignment).
int edit_distance(std::string_view from, std::string_view to);

/// Those of `known` at the least distance, at most three, in their order.
std::vector<std::string> nearest(const std::string& name, const std::vector<std::string>& known);

/// "did you mean a or b?" for nearest().
std::string suggestion(const std::vector<std::string>& names);

}  // namespace smp::launch
