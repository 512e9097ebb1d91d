// The words by which configurations, logs and messages name the values of an enumeration.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace smp::partition {

/// Specialised beside each enumeration of an option, with `static constexpr std::array<std::string_view, n> list`: one
/// word for each enumerator, in the order of their declaration. The enumerators have their default values 0, 1, ….
template <typename Enum>
struct Words;

template <typename Enum>
std::string word_of(Enum value) {
    return std::string(Words<Enum>::list.at(static_cast<std::size_t>(value)));
}

}  // namespace smp::partition
