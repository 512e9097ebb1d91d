#include "launch/report/charts.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "launch/command/text_table.h"
#include "partition/foresight/markup.h"
#include "partition/foresight/memory_use.h"

namespace smp::launch {

namespace {

using partition::markup_text;

const std::vector<ChartPlan>& known_charts() {
    static const std::vector<ChartPlan> all = {
        {"Loss", ChartUnit::plain, {"loss", "validation_loss"}},
        {"Learning rate", ChartUnit::plain, {"learning_rate"}},
        {"Gradient norm", ChartUnit::plain, {"grad_norm"}},
        {"Tokens per second", ChartUnit::plain, {"tokens_per_second"}},
        {"Time of a step", ChartUnit::seconds, {"seconds", "predicted_seconds", "slowest_rank_seconds"}},
        {"Waiting and reading", ChartUnit::seconds, {"wait_seconds", "exposed_communication_seconds", "data_seconds"}},
        {"Bubble: idle over work", ChartUnit::percent, {"bubble"}},
        {"Utilization", ChartUnit::percent, {"mfu", "cpu_utilization", "device_utilization"}},
        {"Tensors of the largest rank", ChartUnit::bytes, {"memory_bytes", "predicted_memory_bytes"}},
        {"Memory of processes, hosts and devices",
         ChartUnit::bytes,
         {"resident_bytes", "node_memory_bytes", "device_memory_bytes"}},
        {"Slowest rank, and stragglers", ChartUnit::plain, {"slowest_rank", "straggler_rank"}},
        {"Loss scale", ChartUnit::plain, {"loss_scale"}},
        {"Skipped updates", ChartUnit::plain, {"skipped_updates"}},
    };
    return all;
}

ChartUnit unit_of(std::string_view column) {
    if (column.ends_with("_seconds")) return ChartUnit::seconds;
    if (column.ends_with("_bytes")) return ChartUnit::bytes;
    if (column.ends_with("_utilization")) return ChartUnit::percent;
    return ChartUnit::plain;
}

// In pixels of the view; a chart is as wide as its place.
constexpr double kWidth = 420, kHeight = 230, kLeft = 64, kRight = 10, kTop = 10, kBottom = 26;

struct Range {
    double least = 0, most = 1;
    double part(double value) const { return (value - least) / (most - least); }
};

template <typename Member>
Range range_of(const std::vector<ChartLine>& lines, Member member, double margin) {
    Range range{.least = HUGE_VAL, .most = -HUGE_VAL};
    for (const ChartLine& line : lines) {
        for (const CurvePoint& point : line.points) {
            range.least = std::min(range.least, point.*member);
            range.most = std::max(range.most, point.*member);
        }
    }
    if (range.least > range.most) return {};
    const double size = range.most - range.least;
    const double added = size > 0 ? margin * size : std::max(1e-12, 0.5 * std::abs(range.most));
    return {.least = range.least - (size > 0 || margin > 0 ? added : 0.5),
            .most = range.most + (size > 0 || margin > 0 ? added : 0.5)};
}

/// At most about `wanted` round numbers inside; those of bytes are round in powers of two.
std::vector<double> marks_in(const Range& range, double wanted, bool is_bytes) {
    const double rough = (range.most - range.least) / wanted;
    double step = 0;
    if (is_bytes) {
        step = std::exp2(std::ceil(std::log2(std::max(1.0, rough))));
    } else {
        const double power = std::pow(10, std::floor(std::log10(rough)));
        step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
    }
    std::vector<double> marks;
    for (double i = std::ceil(range.least / step); i * step <= range.most && marks.size() < 20; ++i)
        marks.push_back(i == 0 ? 0 : i * step);  // never "-0"
    return marks;
}

double tenth(double pixels) { return std::round(10 * pixels) / 10; }

}  // namespace

std::vector<ChartPlan> charts_of(const std::vector<std::string>& columns) {
    std::vector<ChartPlan> charts;
    std::vector<std::string> left = columns;
    std::erase(left, "tokens");
    for (const ChartPlan& known : known_charts()) {
        ChartPlan chart{known.title, known.unit, {}};
        for (const std::string& name : known.columns)
            if (std::erase(left, name) > 0) chart.columns.push_back(name);
        if (!chart.columns.empty()) charts.push_back(std::move(chart));
    }
    for (const std::string& name : left) {
        std::string title = name;
        std::ranges::replace(title, '_', ' ');
        if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') title[0] = static_cast<char>(title[0] - 'a' + 'A');
        charts.push_back({title, unit_of(name), {name}});
    }
    return charts;
}

std::string shown_value(double value, ChartUnit unit) {
    switch (unit) {
        case ChartUnit::seconds:
            return value == 0 ? "0" : value < 0 ? fmt::format("{:.4g} s", value) : shown_seconds(value);
        case ChartUnit::bytes: return partition::shown_bytes(std::llround(value));
        case ChartUnit::percent: return fmt::format("{:.3g} %", 1e2 * value);
        case ChartUnit::plain: break;
    }
    return std::abs(value) >= 1e4 ? shown_si(value) : fmt::format("{:.4g}", value);
}

std::string chart_svg(const std::string& title, ChartUnit unit, const std::vector<ChartLine>& lines, int number) {
    const Range x = range_of(lines, &CurvePoint::step, 0);
    Range y = range_of(lines, &CurvePoint::value, 0.05);
    // Numbers of bytes have three digits: marks that are closer would read alike.
    if (unit == ChartUnit::bytes) y.least = std::min(y.least, 0.9 * y.most);
    const double width = kWidth - kLeft - kRight, height = kHeight - kTop - kBottom;
    const auto at_x = [&](double step) { return tenth(kLeft + width * x.part(step)); };
    const auto at_y = [&](double value) { return tenth(kTop + height * (1 - y.part(value))); };
    std::string text = fmt::format(
        "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" data-chart=\"{}\" data-first=\"{}\" "
        "data-last=\"{}\">",
        kWidth, kHeight, markup_text(title), number, x.least, x.most);
    for (const double mark : marks_in(y, 5, unit == ChartUnit::bytes))
        text += fmt::format("<path class=\"grid\" d=\"M{} {}h{}\"/><text class=\"left\" x=\"{}\" y=\"{}\">{}</text>",
                            kLeft, at_y(mark), width, kLeft - 6, at_y(mark) + 4, markup_text(shown_value(mark, unit)));
    for (const double mark : marks_in(x, 5, false))
        if (mark == std::round(mark))
            text += fmt::format("<text class=\"below\" x=\"{}\" y=\"{}\">{}</text>", std::min(at_x(mark), kWidth - 18),
                                kHeight - 8, shown_value(mark, ChartUnit::plain));
    constexpr std::size_t kFewPoints = 30;
    for (const ChartLine& line : lines) {
        const auto draw = [&](const std::vector<CurvePoint>& points, const char* kind) {
            text += fmt::format("<polyline class=\"line c{}{}\" points=\"", line.colour % kChartColours, kind);
            for (const CurvePoint& point : points)
                fmt::format_to(std::back_inserter(text), FMT_COMPILE("{},{} "), at_x(point.step), at_y(point.value));
            text += "\"/>";
        };
        const bool has_means = !line.means.empty();
        draw(line.points, line.is_dashed ? " dashed" : has_means ? " band" : "");
        if (has_means) draw(line.means, "");
        if (line.points.size() > kFewPoints || line.is_dashed) continue;
        for (const CurvePoint& point : line.points)
            text += fmt::format("<circle class=\"c{}\" cx=\"{}\" cy=\"{}\" r=\"2.5\"/>", line.colour % kChartColours,
                                at_x(point.step), at_y(point.value));
    }
    return text + "<path class=\"cursor\" d=\"\"/></svg>";
}

}  // namespace smp::launch
