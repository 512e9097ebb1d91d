// The help on keys.
#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/config/config.h"
#include "launch/config/keys.h"
#include "launch/config/limits.h"
#include "partition/job/problem.h"

namespace smp::launch {

namespace {

/// A paragraph whose lines begin with `indent` spaces and have at most `width` columns, but for longer words.
std::string paragraph(std::string_view text, std::size_t indent, std::size_t width) {
    std::string lines, line;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (word.empty()) continue;
        if (!line.empty() && line.size() + 1 + word.size() > width) {
            lines += line + '\n';
            line.clear();
        }
        line += line.empty() ? std::string(indent, ' ') : " ";
        line += word;
    }
    return line.empty() ? lines : lines + line + '\n';
}

std::string help_on(const Key& key, const std::string& limit, const Config& defaults, std::size_t width) {
    const std::string name = key.alias.empty() ? key.name : fmt::format("{} (or {})", key.name, key.alias);
    std::string value = key.type;
    if (!limit.empty()) value += ", " + limit;
    if (key.nullable) value += ", or null";
    if (key.required)
        value += "; required";
    else if (key.write)
        value += "; default " + key.write(defaults).dump();
    return paragraph(name, 2, width) + paragraph(key.doc, 6, width) + paragraph(value, 6, width);
}

}  // namespace

std::string keys_help(const std::string& section, std::size_t width) {
    const auto& sections = configuration_sections();
    if (!section.empty() && std::find(sections.begin(), sections.end(), section) == sections.end())
        throw partition::ConfigError(partition::Problem{
            "--help", fmt::format("knows no section \"{}\"; there are {}", section, fmt::join(sections, ", "))});
    const auto limit_of = limits();
    const Config defaults;
    std::string text;
    for (const std::string& each : sections) {
        if (!section.empty() && each != section) continue;
        text += fmt::format("{}{}\n", text.empty() ? "" : "\n", each);
        for (const Key& key : configuration_keys()) {
            if (key.section != each) continue;
            const auto limit = limit_of.find(key.path());
            text +=
                help_on(key, limit == limit_of.end() ? "" : limit->second, defaults, std::max<std::size_t>(width, 40));
        }
    }
    return text;
}

}  // namespace smp::launch
