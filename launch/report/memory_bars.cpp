#include "launch/report/memory_bars.h"

#include <algorithm>
#include <cstdint>
#include <set>

#include <fmt/format.h>

#include "partition/foresight/markup.h"
#include "partition/foresight/memory_use.h"
#include "partition/plan/memory_category.h"

namespace smp::launch {

namespace {

using partition::markup_text;
using partition::shown_bytes;

constexpr const auto& kCategories = partition::Words<partition::MemoryCategory>::list;

std::int64_t bytes_in(const std::vector<NamedBytes>& all, std::string_view name) {
    const auto found = std::ranges::find(all, name, &NamedBytes::name);
    return found == all.end() ? 0 : found->bytes;
}

std::int64_t sum_of(const std::vector<NamedBytes>& all) {
    std::int64_t sum = 0;
    for (const NamedBytes& each : all) sum += each.bytes;
    return sum;
}

std::string bar(const char* what, const std::vector<NamedBytes>& bytes, std::int64_t peak, std::int64_t longest) {
    std::string text = fmt::format("<div class=\"bar\"><span>{}</span><div>", what);
    for (std::size_t i = 0; i < kCategories.size(); ++i) {
        const std::int64_t own = bytes_in(bytes, kCategories.at(i));
        if (own > 0)
            text += fmt::format("<i class=\"m{}\" style=\"width:{:.2f}%\" title=\"{} {}\"></i>", i,
                                1e2 * static_cast<double>(own) / static_cast<double>(longest), kCategories.at(i),
                                shown_bytes(own));
    }
    return text + fmt::format("</div><b>{}</b></div>\n", shown_bytes(peak));
}

std::string table(const std::vector<StageMemory>& stages, const std::vector<std::string_view>& categories) {
    std::string text = "<div class=\"wide\"><table><tr><th>stage</th><th></th><th>at once</th>";
    for (const std::string_view category : categories) text += fmt::format("<th>{}</th>", category);
    text += "</tr>\n";
    for (const StageMemory& stage : stages) {
        for (const bool is_measured : {false, true}) {
            const auto& bytes = is_measured ? stage.measured : stage.predicted;
            if (bytes.empty()) continue;
            text += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td>",
                                is_measured ? std::string() : std::to_string(stage.stage),
                                is_measured ? "measured" : "predicted",
                                shown_bytes(is_measured ? stage.measured_peak : stage.predicted_peak));
            for (const std::string_view category : categories) {
                const std::int64_t own = bytes_in(bytes, category);
                const bool differs =
                    is_measured && shown_bytes(own) != shown_bytes(bytes_in(stage.predicted, category));
                text += fmt::format("<td{}>{}</td>", differs ? " class=\"differs\"" : "",
                                    own > 0 ? shown_bytes(own) : std::string("-"));
            }
            text += "</tr>\n";
        }
    }
    return text + "</table></div>\n";
}

}  // namespace

std::string memory_html(const std::vector<StageMemory>& stages) {
    std::int64_t longest = 0;
    for (const StageMemory& stage : stages)
        longest = std::max({longest, sum_of(stage.predicted), sum_of(stage.measured)});
    if (longest == 0) return "";
    std::vector<std::string_view> categories;
    for (const std::string_view category : kCategories)
        if (std::ranges::any_of(stages, [&](const StageMemory& stage) {
                return bytes_in(stage.predicted, category) > 0 || bytes_in(stage.measured, category) > 0;
            }))
            categories.push_back(category);
    std::string text = "<p class=\"legend\">";
    for (std::size_t i = 0; i < kCategories.size(); ++i)
        if (std::ranges::find(categories, kCategories.at(i)) != categories.end())
            text += fmt::format("<span><i class=\"m{}\"></i>{}</span> ", i, kCategories.at(i));
    text += "</p>\n<div class=\"memory\">";
    for (const StageMemory& stage : stages) {
        text += fmt::format("<h4>stage {}</h4>\n", stage.stage);
        text += bar("predicted", stage.predicted, stage.predicted_peak, longest);
        if (!stage.measured.empty()) text += bar("measured", stage.measured, stage.measured_peak, longest);
    }
    return text +
           "</div>\n<p class=\"soft\">Of the largest rank of a stage, in one step. Categories reach their peaks at "
           "different moments: the number beside a bar is the most at once, without what is offloaded to host "
           "memory.</p>\n<details><summary>Numbers</summary>" +
           table(stages, categories) + "</details>\n";
}

}  // namespace smp::launch
