// Walks a described value (partition/job/fields.h) down to its single numbers and words, so that a test can change
// each.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include <fmt/format.h>

#include "partition/job/fields.h"
#include "partition/job/words.h"

namespace smp::partition::testing {

/// visit(path, leaf) for every number, word, flag and text in `value`, all by reference;
/// "training[0].actions[3].bytes".
template <typename Value, typename Visit>
void for_each_value(Value& value, const Visit& visit, const std::string& path = "") {
    if constexpr (HasFields<Value>) {
        for_each_field<Value>([&](const auto& field) {
            for_each_value(value.*field.member, visit,
                           fmt::format("{}{}{}", path, path.empty() ? "" : ".", field.name));
        });
    } else if constexpr (IsList<Value> || kIsArray<Value>) {
        std::size_t i = 0;
        for (auto& item : value) for_each_value(item, visit, fmt::format("{}[{}]", path, i++));
    } else {
        visit(path, value);
    }
}

/// Another value of the same kind.
template <typename Value>
void change(Value& value) {
    if constexpr (std::is_same_v<Value, bool>) {
        value = !value;
    } else if constexpr (std::is_enum_v<Value>) {
        value = static_cast<Value>((static_cast<std::size_t>(value) + 1) % Words<Value>::list.size());
    } else if constexpr (IsId<Value>) {
        value = Value(value.number() + 1);
    } else if constexpr (std::is_arithmetic_v<Value>) {
        value += 1;
    } else {
        value += "x";
    }
}

}  // namespace smp::partition::testing
