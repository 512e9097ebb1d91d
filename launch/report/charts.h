// Which columns of the metrics are drawn together, and how a chart of curves looks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/report/curve.h"

namespace smp::launch {

/// Of what is drawn: how numbers are written.
enum class ChartUnit { plain, seconds, bytes, percent };

struct ChartPlan {
    std::string title;
    ChartUnit unit = ChartUnit::plain;
    std::vector<std::string> columns;
};

/// Known columns in named groups, in a fixed order; each other one by itself, behind them. `tokens` is no curve.
std::vector<ChartPlan> charts_of(const std::vector<std::string>& columns);

struct ChartLine {
    std::string label;
    std::vector<CurvePoint> points;
    std::vector<CurvePoint> means = {};  // where `points` are extremes: drawn over them
    int colour = 0;                      // of kChartColours
    bool is_dashed = false;              // what was predicted
};
inline constexpr int kChartColours = 8;

/// SVG for a page with the report's style sheet: axes, curves, points where they are few. One chart number a page,
/// under which its script knows it.
std::string chart_svg(const std::string& title, ChartUnit unit, const std::vector<ChartLine>& lines, int number);

/// "12.5 ms", "3.20 GiB", "45.2 %", "0.000123": for people.
std::string shown_value(double value, ChartUnit unit);

}  // namespace smp::launch
