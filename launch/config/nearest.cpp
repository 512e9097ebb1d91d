#include "launch/config/nearest.h"

#include <algorithm>
#include <limits>

namespace smp::launch {

int edit_distance(std::string_view from, std::string_view to) {
    const std::size_t columns = to.size() + 1;
    std::vector<int> before(columns), above(columns), row(columns);
    for (std::size_t j = 0; j < columns; ++j) above[j] = static_cast<int>(j);
    for (std::size_t i = 1; i <= from.size(); ++i) {
        row[0] = static_cast<int>(i);
        for (std::size_t j = 1; j < columns; ++j) {
            const int substitution = above[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
            const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return above.back();
}

std::vector<std::string> nearest(const std::string& name, const std::vector<std::string>& known) {
    constexpr std::size_t most = 3;
    const std::string_view front = std::string_view(name).substr(0, 64);  // no known name is longer
    int least = std::numeric_limits<int>::max();
    std::vector<std::string> names;
    for (const std::string& candidate : known) {
        const int distance = edit_distance(front, candidate);
        if (distance < least) names.clear();
        least = std::min(least, distance);
        if (distance == least && names.size() < most) names.push_back(candidate);
    }
    return names;
}

std::string suggestion(const std::vector<std::string>& names) {
    std::string text = "did you mean ";
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
        text += names[i];
    }
    return text + '?';
}

}  // namespace smp::launch
