#include "launch/config/statements.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/config/json_text.h"
#include "launch/config/keys.h"
#include "launch/config/nearest.h"

namespace smp::launch {
namespace {

using partition::Problem;

bool is_section(const std::string& name) {
    const auto& sections = configuration_sections();
    return std::find(sections.begin(), sections.end(), name) != sections.end();
}

/// Paths of the keys of other sections that bear exactly this name.
std::vector<std::string> namesakes(const std::string& name) {
    std::vector<std::string> paths;
    for (const std::string& section : configuration_sections()) {
        if (const Key* key = find_key(section, name)) paths.push_back(key->path());
    }
    return paths;
}

std::string unknown_section(const std::string& name) {
    const auto paths = namesakes(name);
    const auto& sections = configuration_sections();
    return fmt::format("is no section; sections are {}; {}", fmt::join(sections, ", "),
                       suggestion(paths.empty() ? nearest(name, sections) : paths));
}

std::string unknown_key(const std::string& section, const std::string& name) {
    auto meant = namesakes(name);
    if (meant.empty()) {
        std::vector<std::string> known;
        for (const Key& key : configuration_keys()) {
            if (key.section != section) continue;
            known.push_back(key.name);
            if (!key.alias.empty()) known.push_back(key.alias);
        }
        for (const std::string& near : nearest(name, known)) meant.push_back(fmt::format("{}.{}", section, near));
    }
    return "is no key; " + suggestion(meant);
}

class Collector {
  public:
    explicit Collector(std::vector<Problem>& problems) : problems_(problems) {}

    void read_file(const std::filesystem::path& file) {
        const std::string origin = file.string();
        const auto base = std::filesystem::absolute(file).parent_path();
        const Json object = read_json_object(file, problems_);
        for (const auto& [section, keys] : object.items()) {
            if (!is_section(section)) {
                problems_.push_back({.key = section, .message = unknown_section(section), .origin = origin});
            } else if (!keys.is_object()) {
                problems_.push_back(
                    {.key = section,
                     .message = fmt::format("= {}: must be an object with keys, {{ … }}", shown_json(keys)),
                     .origin = origin});
            } else {
                for (const auto& [name, value] : keys.items()) state_in_file(section, name, {value, origin, base});
            }
        }
    }

    void read_set(const std::string& text) {
        const auto equals = text.find('=');
        const auto dot = text.find('.');
        if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
            problems_.push_back(
                {.key = fmt::format("\"{}\"", text),
                 .message = "is no override; write --set SECTION.KEY=VALUE, as in --set training.steps=100",
                 .origin = kSet});
            return;
        }
        const std::string section = text.substr(0, dot), name = text.substr(dot + 1, equals - dot - 1),
                          value = text.substr(equals + 1);
        if (!is_section(section)) {
            problems_.push_back({.key = section, .message = unknown_section(section), .origin = kSet});
            return;
        }
        const Key* key = find_key(section, name);
        if (key == nullptr) {
            problems_.push_back({.key = section + '.' + name, .message = unknown_key(section, name), .origin = kSet});
            return;
        }
        statements_[key->path()] = {value_of(value, *key), kSet, std::filesystem::current_path()};
    }

    Statements statements() && { return std::move(statements_); }

  private:
    static constexpr const char* kSet = "--set";

    /// JSON where it is, unless the key wants text and the JSON is something else; a bare string otherwise.
    static Json value_of(const std::string& text, const Key& key) {
        Json value = parse_json_value(text);
        const bool usable = !value.is_discarded() && (!key.takes_text || value.is_string() || value.is_null());
        return usable ? value : Json(text);
    }

    void state_in_file(const std::string& section, const std::string& name, Statement statement) {
        const Key* key = find_key(section, name);
        if (key == nullptr) {
            problems_.push_back(
                {.key = section + '.' + name, .message = unknown_key(section, name), .origin = statement.origin});
            return;
        }
        if (statements_.contains(key->path())) {
            problems_.push_back(
                {.key = section + '.' + key->alias,
                 .message = fmt::format("is another name of {}, which stands in the file too; keep one of the two",
                                        key->path()),
                 .origin = statement.origin});
        }
        statements_[key->path()] = std::move(statement);
    }

    std::vector<Problem>& problems_;
    Statements statements_;
};

}  // namespace

Statements read_statements(const std::filesystem::path& file, const std::vector<std::string>& sets,
                           std::vector<Problem>& problems) {
    Collector collector(problems);
    collector.read_file(file);
    for (const std::string& set : sets) collector.read_set(set);
    return std::move(collector).statements();
}

}  // namespace smp::launch
