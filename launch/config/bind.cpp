#include "launch/config/bind.h"

#include <algorithm>

#include "launch/config/json_text.h"

namespace smp::launch {

std::string whole_number_remedy(const Json& value) {
    const double number = value.get<double>();
    if (number != std::floor(number) || std::abs(number) > 9e15) return "";
    return fmt::format("write {:.0f}", number);
}

std::string unquoted_remedy(const Json& value, bool number) {
    if (!value.is_string()) return "";
    const Json inner = parse_json_value(value.get<std::string>());
    return (number ? inner.is_number() : inner.is_boolean()) ? "write it without quotes" : "";
}

std::string alternatives(const std::vector<std::string>& words) {
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
        text += '"' + words[i] + '"';
    }
    return text;
}

Key only(const std::string& section, const std::string& name, const Json& value, const std::string& why,
         const std::string& doc) {
    return {.section = section,
            .name = name,
            .type = value.dump(),
            .doc = doc,
            .takes_text = value.is_string(),
            .read = [value, why](Config&, const Json& given, const std::filesystem::path&) -> std::optional<Refusal> {
                if (given == value) return std::nullopt;
                return Refusal{why, "set it to " + value.dump() + ", or leave it out"};
            },
            .write = [value](const Config&) { return value; }};
}

Key not_yet(const std::string& section, const std::string& name, const Json& off, const std::string& doc) {
    return only(section, name, off, "not yet: this is still to come", doc + " (still to come)");
}

}  // namespace smp::launch
