#include "launch/report/page.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include <fmt/compile.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/report/charts.h"
#include "launch/report/memory_bars.h"
#include "launch/report/page_style.h"
#include "partition/foresight/markup.h"

namespace smp::launch {

namespace {

using partition::markup_text;

/// A text as JSON inside a script element, which "</script>" would end.
std::string json_text(const std::string& text) {
    const std::string json = nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    std::string safe;
    for (const char c : json) {
        if (c == '<')
            safe += "\\u003c";
        else
            safe += c;
    }
    return safe;
}

/// The curves of a run, by column.
using Curves = std::map<std::string, std::vector<CurvePoint>>;

Curves curves_of(const MetricsTable& metrics) {
    Curves curves;
    for (const MetricsColumn& column : metrics.columns) {
        auto curve = curve_of(metrics.steps, column.values);
        if (!curve.empty()) curves.emplace(column.name, std::move(curve));
    }
    return curves;
}

/// All runs' columns, in the order of the files.
std::vector<std::string> columns_of(const std::vector<RunFolder>& runs, const std::vector<Curves>& curves) {
    std::vector<std::string> names;
    for (std::size_t run = 0; run < runs.size(); ++run)
        for (const MetricsColumn& column : runs[run].metrics.columns)
            if (curves[run].contains(column.name) && std::ranges::find(names, column.name) == names.end())
                names.push_back(column.name);
    return names;
}

struct Chart {
    ChartPlan plan;
    std::vector<ChartLine> lines;
    std::vector<std::pair<std::size_t, std::string>> sources;  // of each line: run, column
};

std::vector<Chart> drawn_charts(const std::vector<RunFolder>& runs, const std::vector<Curves>& curves) {
    std::vector<Chart> charts;
    for (ChartPlan& plan : charts_of(columns_of(runs, curves))) {
        Chart chart{.plan = std::move(plan), .lines = {}, .sources = {}};
        bool is_drawn = false;  // nothing but zeros is no curve
        for (std::size_t run = 0; run < runs.size(); ++run) {
            for (std::size_t i = 0; i < chart.plan.columns.size(); ++i) {
                const std::string& column = chart.plan.columns[i];
                const auto found = curves[run].find(column);
                if (found == curves[run].end()) continue;
                const bool is_predicted = column.starts_with("predicted_");
                const bool is_alone = chart.plan.columns.size() == 1;
                chart.lines.push_back(
                    {.label = runs.size() == 1 ? column
                              : is_alone       ? runs[run].name
                                               : fmt::format("{} {}", runs[run].name, column),
                     .points = found->second,
                     .means = means_of(runs[run].metrics.steps, runs[run].metrics.find(column)->values),
                     .colour = static_cast<int>(runs.size() == 1 ? i : run),
                     .is_dashed = is_predicted || (runs.size() > 1 && i > 0)});
                chart.sources.emplace_back(run, column);
                is_drawn = is_drawn || std::ranges::any_of(found->second, [](const auto& p) { return p.value != 0; });
            }
        }
        if (is_drawn) charts.push_back(std::move(chart));
    }
    return charts;
}

constexpr const char* unit_word(ChartUnit unit) {
    switch (unit) {
        case ChartUnit::seconds: return "seconds";
        case ChartUnit::bytes: return "bytes";
        case ChartUnit::percent: return "percent";
        case ChartUnit::plain: break;
    }
    return "plain";
}

std::string data_json(const std::vector<RunFolder>& runs, const std::vector<Curves>& curves,
                      const std::vector<Chart>& charts) {
    std::string text = "{\"version\":1,\"charts\":[";
    for (const Chart& chart : charts) {
        text += fmt::format("{}{{\"title\":{},\"unit\":\"{}\",\"lines\":[", text.back() == '[' ? "" : ",",
                            json_text(chart.plan.title), unit_word(chart.plan.unit));
        for (std::size_t i = 0; i < chart.lines.size(); ++i)
            text +=
                fmt::format("{}{{\"run\":{},\"column\":{},\"label\":{}}}", i == 0 ? "" : ",", chart.sources[i].first,
                            json_text(chart.sources[i].second), json_text(chart.lines[i].label));
        text += "]}";
    }
    text += "],\n\"runs\":[";
    for (std::size_t run = 0; run < runs.size(); ++run) {
        text +=
            fmt::format("{}{{\"name\":{},\"steps\":{},\"columns\":{{", run == 0 ? "" : ",", json_text(runs[run].name),
                        runs[run].metrics.steps.empty() ? 0 : runs[run].metrics.steps.back());
        for (const auto& [name, curve] : curves[run]) {
            text += fmt::format("{}{}:[", text.back() == '{' ? "" : ",\n", json_text(name));
            for (const CurvePoint& point : curve)
                fmt::format_to(std::back_inserter(text), FMT_COMPILE("{}[{},{}]"), text.back() == '[' ? "" : ",",
                               point.step, point.value);
            text += "]";
        }
        text += "}}";
    }
    return text + "]}";
}

std::string chart_html(const Chart& chart, int number) {
    std::string text = fmt::format("<div class=\"card\"><h3>{}</h3>\n{}\n", markup_text(chart.plan.title),
                                   chart_svg(chart.plan.title, chart.plan.unit, chart.lines, number));
    if (chart.lines.size() > 1) {
        text += "<p class=\"legend\">";
        for (const ChartLine& line : chart.lines)
            text += fmt::format("<span><i class=\"s{}{}\"></i>{}</span> ", line.colour % kChartColours,
                                line.is_dashed ? " hollow" : "", markup_text(line.label));
        text += "</p>\n";
    }
    return text + "<p class=\"readout\"></p></div>\n";
}

/// The last value that a column has.
std::optional<double> last_of(const MetricsTable& metrics, std::string_view name) {
    const MetricsColumn* column = metrics.find(name);
    if (column == nullptr) return std::nullopt;
    const auto last =
        std::find_if(column->values.rbegin(), column->values.rend(), [](double v) { return std::isfinite(v); });
    return last == column->values.rend() ? std::nullopt : std::optional(*last);
}

/// What is said of each run first: title, column, unit.
struct Headline {
    const char* title;
    const char* column;
    ChartUnit unit;
};
constexpr Headline kHeadlines[] = {{"loss", "loss", ChartUnit::plain},
                                   {"validation loss", "validation_loss", ChartUnit::plain},
                                   {"tokens/s", "tokens_per_second", ChartUnit::plain},
                                   {"a step", "seconds", ChartUnit::seconds},
                                   {"model FLOPs utilization", "mfu", ChartUnit::percent},
                                   {"bubble", "bubble", ChartUnit::percent},
                                   {"tensors of the largest rank", "memory_bytes", ChartUnit::bytes},
                                   {"tokens", "tokens", ChartUnit::plain}};

std::string steps_text(const RunFolder& run) {
    const std::string steps =
        run.metrics.steps.empty() ? "no step yet" : fmt::format("step {}", run.metrics.steps.back());
    const auto total = std::ranges::find(run.keys, "training.steps", [](const auto& key) { return key.first; });
    return steps + (total == run.keys.end() || run.metrics.steps.empty() ? "" : fmt::format(" of {}", total->second)) +
           (run.state.empty() ? "" : ", " + run.state);
}

std::string tiles(const RunFolder& run) {
    std::string text = "<div class=\"tiles\">";
    for (const Headline& headline : kHeadlines)
        if (const auto value = last_of(run.metrics, headline.column))
            text += fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n",
                                markup_text(shown_value(*value, headline.unit)), headline.title);
    return text + "</div>\n";
}

/// Several runs: their last numbers, and where their configurations differ.
std::string comparison(const std::vector<RunFolder>& runs) {
    std::string text = "<h2>Side by side</h2>\n<div class=\"wide\"><table><tr><th></th>";
    for (std::size_t run = 0; run < runs.size(); ++run)
        text += fmt::format("<th><span class=\"legend\"><i class=\"s{}\"></i></span>{}</th>", run % kChartColours,
                            markup_text(runs[run].name));
    text += "</tr>\n<tr><td>steps</td>";
    for (const RunFolder& run : runs) text += fmt::format("<td>{}</td>", markup_text(steps_text(run)));
    text += "</tr>\n";
    for (const Headline& headline : kHeadlines) {
        std::string row;
        bool is_known = false;
        for (const RunFolder& run : runs) {
            const auto value = last_of(run.metrics, headline.column);
            is_known = is_known || value;
            row += fmt::format("<td>{}</td>", value ? markup_text(shown_value(*value, headline.unit)) : "-");
        }
        if (is_known) text += fmt::format("<tr><td>{}</td>{}</tr>\n", headline.title, row);
    }
    std::vector<std::string> keys;
    for (const RunFolder& run : runs)
        for (const auto& [key, value] : run.keys)
            if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    for (const std::string& key : keys) {
        std::vector<std::string> values;
        for (const RunFolder& run : runs) {
            const auto found = std::ranges::find(run.keys, key, [](const auto& each) { return each.first; });
            values.push_back(found == run.keys.end() ? "-" : found->second);
        }
        if (std::ranges::all_of(values, [&](const std::string& value) { return value == values.front(); })) continue;
        text += fmt::format("<tr><td>{}</td>", markup_text(key));
        for (const std::string& value : values) text += fmt::format("<td>{}</td>", markup_text(value));
        text += "</tr>\n";
    }
    return text + "</table></div>\n";
}

std::string list_html(const char* title, const char* kind, const std::vector<std::string>& sentences) {
    if (sentences.empty()) return "";
    std::string text = fmt::format("<h2>{}</h2>\n<ul class=\"{}\">", title, kind);
    for (const std::string& sentence : sentences) text += fmt::format("<li>{}</li>\n", markup_text(sentence));
    return text + "</ul>\n";
}

std::string rows_html(const std::vector<std::pair<std::string, std::string>>& rows) {
    std::string text = "<div class=\"wide\"><table>";
    for (const auto& [name, value] : rows)
        text += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", markup_text(name), markup_text(value));
    return text + "</table></div>\n";
}

std::string timelines_html(const RunFolder& run, std::size_t number) {
    if (run.timelines.empty()) return "";
    std::string text = "<h2>The pipeline of a step</h2>\n";
    for (std::size_t i = 0; i < run.timelines.size(); ++i)
        text += fmt::format("<div class=\"wide\">{}</div>\n",
                            partition::to_svg(run.timelines[i], {.ids = fmt::format("smp-t{}-{}", number, i)}));
    return text;
}

/// All but the curves.
std::string run_html(const RunFolder& run, std::size_t number) {
    std::vector<std::string> warnings = run.warnings;
    warnings.insert(warnings.end(), run.remarks.begin(), run.remarks.end());
    std::string text = list_html("Advice", "advice", run.advice) + list_html("Warnings", "warnings", warnings);
    if (const std::string memory = memory_html(run.memory); !memory.empty()) text += "<h2>Memory</h2>\n" + memory;
    text += timelines_html(run, number);
    if (!run.samples.empty()) {
        text += "<h2>Samples</h2>\n";
        for (const auto& [step, sample] : run.samples)
            text += fmt::format("<p class=\"soft\">after step {}</p><pre>{}</pre>\n", step, markup_text(sample));
    }
    if (!run.settings.empty()) text += "<h2>Settings</h2>\n" + rows_html(run.settings);
    text += list_html("Notes", "notes", run.notes);
    if (!run.keys.empty())
        text += fmt::format("<details><summary>The whole configuration</summary>{}</details>\n", rows_html(run.keys));
    if (!run.log.empty())
        text += fmt::format("<details><summary>The end of log.txt</summary><pre>{}</pre></details>\n",
                            markup_text(run.log));
    return text;
}

}  // namespace

std::string report_html(const std::vector<RunFolder>& runs) {
    const bool is_one = runs.size() == 1;
    std::vector<Curves> curves;
    for (const RunFolder& run : runs) curves.push_back(curves_of(run.metrics));
    const std::vector<Chart> charts = drawn_charts(runs, curves);
    const std::string title = is_one ? runs.front().name : fmt::format("{} runs", runs.size());
    std::string text = fmt::format(
        "{}\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'; script-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">"
        "<title>{}</title><style>{}</style></head><body>\n",
        kReportMark, markup_text(title), kPageStyle);
    text += is_one ? fmt::format("<h1>{}</h1><p class=\"soft\">{}</p>\n{}", markup_text(title),
                                 markup_text(steps_text(runs.front())), tiles(runs.front()))
                   : fmt::format("<h1>{}</h1>\n{}", markup_text(title), comparison(runs));
    if (!charts.empty()) {
        text += "<h2>Curves</h2>\n<div class=\"charts\">\n";
        for (std::size_t i = 0; i < charts.size(); ++i) text += chart_html(charts[i], static_cast<int>(i));
        text += "</div>\n";
    }
    for (std::size_t i = 0; i < runs.size(); ++i) {
        const std::string own = run_html(runs[i], i);
        text += is_one ? own : fmt::format("<h1 class=\"run\">{}</h1>\n{}", markup_text(runs[i].name), own);
    }
    return text + fmt::format(
                      "<script type=\"application/json\" id=\"smp-data\">{}</script>\n<script>{}</script>\n"
                      "</body></html>\n",
                      data_json(runs, curves, charts), kPageScript);
}

}  // namespace smp::launch
