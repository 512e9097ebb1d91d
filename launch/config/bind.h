// Makes keys: each function ties a name to a member of an option struct; the member's type decides what values it
// takes.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "launch/config/key.h"
#include "partition/job/words.h"
#include "runtime/files/utf8.h"

namespace smp::launch {

/// How values of a type are written in JSON: `type()` completes "must be …", `read` fills `out` or refuses.
template <typename T>
struct Codec;

/// "1000" for 1e3: what to write instead of a number that is whole but not written so.
std::string whole_number_remedy(const Json& value);
/// For text that holds what was asked for, as in "4".
std::string unquoted_remedy(const Json& value, bool number);
/// "a", "b" or "c", quoted.
std::string alternatives(const std::vector<std::string>& words);

template <>
struct Codec<bool> {
    static std::string type() { return "true or false"; }
    static std::optional<Refusal> read(const Json& value, bool& out) {
        if (!value.is_boolean()) return Refusal{"must be true or false", unquoted_remedy(value, false)};
        out = value.get<bool>();
        return std::nullopt;
    }
    static Json write(bool value) { return value; }
};

template <typename Integer>
requires(std::is_integral_v<Integer> && !std::is_same_v<Integer, bool>) struct Codec<Integer> {
    static std::string type() { return "an integer"; }
    static std::optional<Refusal> read(const Json& value, Integer& out) {
        if (!value.is_number_integer()) {
            return Refusal{"must be an integer",
                           value.is_number() ? whole_number_remedy(value) : unquoted_remedy(value, true)};
        }
        const bool fits = value.is_number_unsigned() ? std::in_range<Integer>(value.get<std::uint64_t>())
                                                     : std::in_range<Integer>(value.get<std::int64_t>());
        if (!fits) {
            return Refusal{fmt::format("must be an integer from {} to {}", std::numeric_limits<Integer>::min(),
                                       std::numeric_limits<Integer>::max())};
        }
        out = value.is_number_unsigned() ? static_cast<Integer>(value.get<std::uint64_t>())
                                         : static_cast<Integer>(value.get<std::int64_t>());
        return std::nullopt;
    }
    static Json write(Integer value) { return value; }
};

template <>
struct Codec<double> {
    static std::string type() { return "a number"; }
    static std::optional<Refusal> read(const Json& value, double& out) {
        if (!value.is_number()) return Refusal{"must be a number", unquoted_remedy(value, true)};
        out = value.get<double>();
        return std::nullopt;
    }
    static Json write(double value) { return value; }
};

template <>
struct Codec<std::string> {
    static std::string type() { return "text"; }
    static std::optional<Refusal> read(const Json& value, std::string& out) {
        if (!value.is_string()) return Refusal{"must be text in quotes"};
        // Only --set can give other bytes, and config.json could not repeat them.
        if (!runtime::is_utf8(value.get_ref<const std::string&>())) return Refusal{"must be text in UTF-8"};
        out = value.get<std::string>();
        return std::nullopt;
    }
    static Json write(const std::string& value) { return value; }
};

template <typename Enum>
requires std::is_enum_v<Enum>
struct Codec<Enum> {
    static std::vector<std::string> words() {
        return {partition::Words<Enum>::list.begin(), partition::Words<Enum>::list.end()};
    }
    static std::string type() { return alternatives(words()); }
    static std::optional<Refusal> read(const Json& value, Enum& out) {
        const auto& list = partition::Words<Enum>::list;
        for (std::size_t i = 0; i < list.size(); ++i) {
            if (value != list[i]) continue;
            out = static_cast<Enum>(i);
            return std::nullopt;
        }
        return Refusal{"must be " + type()};
    }
    static Json write(Enum value) { return partition::word_of(value); }
};

/// null stands for "not given".
template <typename T>
struct Codec<std::optional<T>> {
    static std::string type() { return Codec<T>::type(); }
    static std::optional<Refusal> read(const Json& value, std::optional<T>& out) {
        if (value.is_null()) {
            out.reset();
            return std::nullopt;
        }
        T inner{};
        auto refusal = Codec<T>::read(value, inner);
        if (!refusal) out = std::move(inner);
        return refusal;
    }
    static Json write(const std::optional<T>& value) { return value ? Codec<T>::write(*value) : Json(nullptr); }
};

/// null stands for an empty list.
template <typename T>
struct Codec<std::vector<T>> {
    static std::string type() { return "a list, each entry " + Codec<T>::type(); }
    static std::optional<Refusal> read(const Json& value, std::vector<T>& out) {
        std::vector<T> items;
        if (!value.is_array() && !value.is_null()) return Refusal{"must be " + type()};
        for (const Json& entry : value) {
            if (Codec<T>::read(entry, items.emplace_back())) return Refusal{"must be " + type()};
        }
        out = std::move(items);
        return std::nullopt;
    }
    static Json write(const std::vector<T>& value) {
        Json list = Json::array();
        for (const T& entry : value) list.push_back(Codec<T>::write(entry));
        return list;
    }
};

template <typename T>
constexpr bool kIsOptional = false;
template <typename T>
constexpr bool kIsOptional<std::optional<T>> = true;

/// One section of the configuration, as the table names it.
template <typename Options>
struct Section {
    std::string name;
    Options Config::*options;

    template <typename T>
    Key option(const std::string& key, T Options::*member, const std::string& doc) const {
        return {.section = name,
                .name = key,
                .type = Codec<T>::type(),
                .nullable = kIsOptional<T>,
                .doc = doc,
                .takes_text = std::is_enum_v<T> || std::is_same_v<T, std::string>,
                .read = [o = options, member](
                            Config& config, const Json& value,
                            const std::filesystem::path&) { return Codec<T>::read(value, config.*o.*member); },
                .write = [o = options, member](const Config& config) { return Codec<T>::write(config.*o.*member); }};
    }

    template <typename T>
    Key required(const std::string& key, T Options::*member, const std::string& doc) const {
        Key made = option(key, member, doc);
        made.required = true;
        return made;
    }

    /// A path, made absolute; null and "" stand for none.
    Key path(const std::string& key, std::string Options::*member, const std::string& doc) const {
        Key made = option(key, member, doc);
        made.type = "a path";
        made.nullable = true;
        made.read = [o = options, member](Config& config, const Json& value,
                                          const std::filesystem::path& base) -> std::optional<Refusal> {
            std::string text;
            if (!value.is_null()) {
                if (const auto refusal = Codec<std::string>::read(value, text))
                    return Refusal{value.is_string() ? "must be a path in UTF-8" : "must be a path in quotes",
                                   value.is_string() ? "rename the file, or link to it under another name" : ""};
            }
            const std::string path = text.empty() ? "" : (base / text).lexically_normal().string();
            if (!runtime::is_utf8(path))
                return Refusal{fmt::format("lies in \"{}\", whose name is not in UTF-8, as config.json would need it",
                                           base.string()),
                               "rename that folder, or link to it under another name"};
            config.*o.*member = path;
            return std::nullopt;
        };
        made.write = [o = options, member](const Config& config) -> Json {
            const std::string& text = config.*o.*member;
            return text.empty() ? Json(nullptr) : Json(text);
        };
        return made;
    }
};

/// A key that takes one value only.
Key only(const std::string& section, const std::string& name, const Json& value, const std::string& why,
         const std::string& doc);

/// A key whose feature is still to come: accepted at its off value, refused with "not yet" at any other.
Key not_yet(const std::string& section, const std::string& name, const Json& off, const std::string& doc);

}  // namespace smp::launch
