#include "launch/bench/variants.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/config/json_text.h"
#include "launch/config/statements.h"
#include "partition/job/problem.h"

namespace smp::launch {

namespace {

constexpr std::size_t kMostVariants = 1000;

[[noreturn]] void refuse(const std::string& what, const std::string& message) {
    throw partition::ConfigError(partition::Problem{.key = what, .message = message});
}

[[noreturn]] void refuse_sweep(const std::string& sweep, const std::string& why) {
    refuse("--sweep", fmt::format("\"{}\" {}; write SECTION.KEY=VALUE,VALUE, as in --sweep parallel.microbatches=2,4",
                                  sweep, why));
}

/// At commas outside of brackets, braces and quotes.
std::vector<std::string> split_values(const std::string& sweep, const std::string& text) {
    std::vector<std::string> values(1);
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted && c == '\\' && i + 1 < text.size()) {
            values.back() += c;
            values.back() += text[++i];
            continue;
        }
        if (c == '"') quoted = !quoted;
        if (!quoted && (c == '[' || c == '{')) ++depth;
        if (!quoted && (c == ']' || c == '}')) --depth;
        if (depth < 0) break;
        if (c == ',' && depth == 0 && !quoted)
            values.emplace_back();
        else
            values.back() += c;
    }
    if (depth != 0 || quoted) refuse_sweep(sweep, "has a bracket or a quotation mark that is open");
    return values;
}

/// "microbatches=4" of "parallel.microbatches=4".
std::string without_section(const std::string& set) { return set.substr(set.find('.') + 1); }

Variant joined(const Variant& one, const Variant& other) {
    Variant both = one;
    both.name += (one.name.empty() || other.name.empty() ? "" : ", ") + other.name;
    both.sets.insert(both.sets.end(), other.sets.begin(), other.sets.end());
    return both;
}

}  // namespace

std::vector<std::string> overrides_of_sweep(const std::string& sweep) {
    const auto equals = sweep.find('='), dot = sweep.find('.');
    if (equals == std::string::npos || dot == std::string::npos || dot > equals) refuse_sweep(sweep, "is no sweep");
    std::vector<std::string> overrides;
    for (const std::string& value : split_values(sweep, sweep.substr(equals + 1))) {
        if (value.empty()) refuse_sweep(sweep, "has an empty value");
        std::string override = sweep.substr(0, equals + 1) + value;
        if (std::find(overrides.begin(), overrides.end(), override) != overrides.end())
            refuse_sweep(sweep, fmt::format("has the value {} twice", value));
        overrides.push_back(std::move(override));
    }
    return overrides;
}

Variant variant_of_file(const std::filesystem::path& file) {
    std::vector<partition::Problem> problems;
    const Json object = read_json_object(file, problems);
    if (!problems.empty()) throw partition::ConfigError(problems);
    Variant variant{.name = file.stem().string(), .sets = {}};
    for (const auto& [section, keys] : object.items()) {
        if (!keys.is_object())
            refuse(file.string(),
                   fmt::format("{} = {}: must be an object with keys, {{ … }}", section, shown_json(keys)));
        for (const auto& [name, value] : keys.items())
            variant.sets.push_back(fmt::format("{}.{}={}", section, name, value.dump()));
    }
    return variant;
}

std::vector<Variant> variants_of(const std::vector<std::string>& sweeps, const std::vector<std::string>& files) {
    std::vector<Variant> variants = {{}};
    const auto multiply = [&](const std::vector<Variant>& axis) {
        std::vector<Variant> product;
        for (const Variant& variant : variants)
            for (const Variant& value : axis) product.push_back(joined(variant, value));
        if (product.size() > kMostVariants)
            refuse("--sweep",
                   fmt::format("makes more than {} configurations; sweep fewer keys at once", kMostVariants));
        variants = std::move(product);
    };
    std::vector<Variant> of_files;
    for (const std::string& file : files) of_files.push_back(variant_of_file(file));
    if (!of_files.empty()) multiply(of_files);
    for (const std::string& sweep : sweeps) {
        std::vector<Variant> axis;
        for (const std::string& override : overrides_of_sweep(sweep))
            axis.push_back({.name = without_section(override), .sets = {override}});
        multiply(axis);
    }
    for (Variant& variant : variants)
        if (variant.name.empty()) variant.name = "as configured";
    return variants;
}

void require_known_keys(const std::filesystem::path& configuration, const std::vector<std::string>& sets,
                        const std::vector<Variant>& variants) {
    std::vector<partition::Problem> all;
    const auto look = [&](const std::vector<std::string>& overrides, const std::string& origin) {
        std::vector<partition::Problem> problems;
        read_statements(configuration, overrides, problems);
        for (partition::Problem& problem : problems) {
            if (problem.origin == "--set") problem.origin = origin;
            if (std::find(all.begin(), all.end(), problem) == all.end()) all.push_back(problem);
        }
    };
    look(sets, "--set");
    for (const Variant& variant : variants) look(variant.sets, "--sweep or --overrides");
    if (!all.empty()) throw partition::ConfigError(all);
}

}  // namespace smp::launch
