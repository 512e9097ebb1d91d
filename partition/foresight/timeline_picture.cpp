#include "partition/foresight/timeline_picture.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "partition/foresight/markup.h"

namespace smp::partition {

namespace {

constexpr std::size_t kLooks = Words<Look>::list.size();
constexpr std::size_t kLanes = 3;

// In pixels.
constexpr double kNarrowest = 900, kWidest = 4000, kLabel = 16, kDigit = 6.2;
constexpr double kMargin = 12, kLine = 18, kAxis = 26;
constexpr std::size_t kBars = 36'000;  // of 17 bytes, where shares are drawn
constexpr std::size_t kColumns = 300;

struct LookStyle {
    const char* colour;
    const char* lines;  // of a tile of 6 by 6
};
// Colours that people who see few of them can tell apart, and that dark letters can be read on; what they do not tell
// the patterns do.
constexpr std::array<LookStyle, kLooks> kStyles = {{{"#6cb4ee", ""},
                                                    {"#f2a65a", "M0 6L6 0"},
                                                    {"#8fce6d", "M0 0L6 6"},
                                                    {"#f0e05a", "M1 1h2v2h-2z"},
                                                    {"#a79be8", ""},
                                                    {"#e29bd0", "M3 0v6"},
                                                    {"#ef8a8a", "M0 3h6"},
                                                    {"#b4bcc6", "M0 0L6 6M0 6L6 0"}}};

constexpr std::string_view kStyleSheet =
    "<style>.smp-t-bg{fill:#fff}.smp-t-idle{fill:#eceff3}.smp-t-text{fill:#1b2129;font:12px system-ui,sans-serif}"
    ".smp-t-title{font-size:15px;font-weight:600}.smp-t-soft{fill:#59636e}.smp-t-grid{stroke:#59636e;stroke-width:1}"
    ".smp-t-label{fill:#10151c;font:10px system-ui,sans-serif;text-anchor:middle}"
    ".smp-t-lines{stroke:#10151c;stroke-opacity:.38;stroke-width:1;fill:none}"
    "@media (prefers-color-scheme:dark){.smp-t-bg{fill:#14181e}.smp-t-idle{fill:#252b34}.smp-t-text{fill:#e4e9ef}"
    ".smp-t-soft{fill:#a0abb8}.smp-t-grid{stroke:#a0abb8}}</style>";

/// With one decimal at most.
double tenth(double pixels) { return std::round(10 * pixels) / 10; }

struct Layout {
    double width = 0;                                            // of the time
    double left = 0;                                             // of it: names of rows
    double top = 0;                                              // of the first row
    double row = 0;                                              // its height, with the gap to the next
    std::array<double, kLanes> lane_top = {}, lane_height = {};  // inside a row
    double pixels(std::int64_t ns, std::int64_t length) const {
        return length > 0 ? width * static_cast<double>(ns) / static_cast<double>(length) : 0;
    }
};

void require_drawable(const TimelinePicture& picture) {
    for (const PictureSpan& span : picture.spans)
        if (span.row < 0 || span.row >= static_cast<int>(picture.rows.size()) || span.end < span.start)
            throw std::logic_error(fmt::format("picture: a span from {} to {} in row {} of {}", span.start, span.end,
                                               span.row, picture.rows.size()));
}

/// What is done for a microbatch in one go: its groups one after another, each recomputed before its backward.
struct LabelRun {
    int row = 0;
    Look look = Look::forward;
    std::string label;
    std::int64_t start = 0, end = 0;
};

std::vector<LabelRun> label_runs(const TimelinePicture& picture) {
    std::vector<const PictureSpan*> spans;
    for (const PictureSpan& span : picture.spans)
        if (!span.label.empty() && span.lane == Lane::compute) spans.push_back(&span);
    std::ranges::stable_sort(spans, {}, [](const PictureSpan* span) { return std::pair(span->row, span->start); });
    std::vector<LabelRun> runs;
    for (const PictureSpan* span : spans) {
        const Look look = span->look == Look::recompute ? Look::backward : span->look;
        const bool goes_on = !runs.empty() && runs.back().row == span->row && runs.back().look == look &&
                             runs.back().label == span->label &&
                             span->start - runs.back().end <= span->end - span->start;
        if (!goes_on) runs.push_back({.row = span->row, .look = look, .label = span->label, .start = span->start});
        runs.back().end = span->end;
    }
    return runs;
}

/// Wide enough that half of the microbatches show their numbers.
double width_of(const TimelinePicture& picture) {
    std::vector<std::int64_t> durations;
    for (const LabelRun& run : label_runs(picture))
        if (run.end > run.start) durations.push_back(run.end - run.start);
    if (durations.empty()) return kNarrowest;
    const auto middle = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 2);
    std::nth_element(durations.begin(), middle, durations.end());
    return std::clamp(kLabel * static_cast<double>(picture.length) / static_cast<double>(*middle), kNarrowest, kWidest);
}

Layout layout_of(const TimelinePicture& picture, bool shows_each) {
    Layout layout;
    layout.width = shows_each ? width_of(picture) : kNarrowest;
    std::size_t longest = 0;
    for (const std::string& name : picture.rows) longest = std::max(longest, name.size());
    layout.left = 2 * kMargin + 6.6 * static_cast<double>(longest);
    const std::size_t above = picture.lines.size() + (shows_each ? 2 : 4);  // title, legend, two lines about shares
    layout.top = kMargin + kLine * static_cast<double>(above) + kAxis;
    const bool has_many_rows = picture.rows.size() > 16;
    const std::array<double, kLanes> heights = {has_many_rows ? 16.0 : 24.0, 5, 5};
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const bool is_used = lane == 0 || std::ranges::any_of(picture.spans, [&](const PictureSpan& span) {
                                 return span.lane == static_cast<Lane>(lane);
                             });
        layout.lane_top.at(lane) = layout.row;
        layout.lane_height.at(lane) = is_used ? heights.at(lane) : 0;
        if (is_used) layout.row += heights.at(lane) + 1;
    }
    layout.row += has_many_rows ? 3 : 7;
    return layout;
}

/// What one row draws, look by look: paths, and labels on top.
struct RowDrawing {
    std::array<std::string, kLooks> paths;
    std::string labels;

    void bar(Look look, double left, double top, double width, double height) {
        fmt::format_to(std::back_inserter(paths.at(static_cast<std::size_t>(look))), FMT_COMPILE("M{} {}h{}v{}h-{}z"),
                       tenth(left), tenth(top), tenth(width), tenth(height), tenth(width));
    }
};

std::vector<RowDrawing> each_span(const TimelinePicture& picture, const Layout& layout) {
    std::vector<RowDrawing> rows(picture.rows.size());
    for (const PictureSpan& span : picture.spans) {
        RowDrawing& row = rows[static_cast<std::size_t>(span.row)];
        const auto lane = static_cast<std::size_t>(span.lane);
        const double left = layout.pixels(span.start, picture.length);
        const double width = layout.pixels(span.end, picture.length) - left;
        row.bar(span.look, left, layout.lane_top.at(lane), width > 3 ? width - 0.6 : std::max(0.4, width),
                layout.lane_height.at(lane));
    }
    for (const LabelRun& run : label_runs(picture)) {
        const double left = layout.pixels(run.start, picture.length);
        const double width = layout.pixels(run.end, picture.length) - left;
        if (width < kDigit * static_cast<double>(run.label.size()) + 2) continue;
        rows[static_cast<std::size_t>(run.row)].labels +=
            fmt::format("<text x=\"{}\" y=\"{}\">{}</text>", tenth(left + width / 2),
                        tenth(layout.lane_top[0] + layout.lane_height[0] / 2 + 3.5), markup_text(run.label));
    }
    return rows;
}

std::size_t columns_of(const TimelinePicture& picture) {
    constexpr std::size_t kBarsOfColumn = 5;  // at once in one row: seldom more
    return std::clamp<std::size_t>(kBars / kBarsOfColumn / std::max<std::size_t>(1, picture.rows.size()), 20, kColumns);
}

/// How much of each column of each row goes to each look on each lane.
std::vector<RowDrawing> shares(const TimelinePicture& picture, const Layout& layout) {
    const std::size_t columns = columns_of(picture);
    const double ns = static_cast<double>(std::max<std::int64_t>(1, picture.length)) / static_cast<double>(columns);
    using Cell = std::array<std::array<double, kLooks>, kLanes>;
    std::vector<std::vector<Cell>> cells(picture.rows.size(), std::vector<Cell>(columns, Cell{}));
    for (const PictureSpan& span : picture.spans) {
        auto& row = cells[static_cast<std::size_t>(span.row)];
        const auto start = static_cast<double>(span.start), end = static_cast<double>(span.end);
        for (auto i = static_cast<std::size_t>(start / ns); i < columns && static_cast<double>(i) * ns < end; ++i) {
            const double from = static_cast<double>(i) * ns;
            const double part = std::min(end, from + ns) - std::max(start, from);
            row[i].at(static_cast<std::size_t>(span.lane)).at(static_cast<std::size_t>(span.look)) +=
                std::max(0.0, part) / ns;
        }
    }
    const double width = layout.width / static_cast<double>(columns);
    std::vector<RowDrawing> rows(picture.rows.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
        for (std::size_t i = 0; i < columns; ++i) {
            for (std::size_t lane = 0; lane < kLanes; ++lane) {
                // Messages that overlap take more than the whole of an interval together.
                const auto& cell = cells[row][i].at(lane);
                const double all = std::max(1.0, std::accumulate(cell.begin(), cell.end(), 0.0));
                double bottom = layout.lane_top.at(lane) + layout.lane_height.at(lane);
                for (std::size_t look = 0; look < kLooks; ++look) {
                    const double height = layout.lane_height.at(lane) * cell.at(look) / all;
                    if (height < 0.05) continue;
                    bottom -= height;
                    rows[row].bar(static_cast<Look>(look), width * static_cast<double>(i), bottom, width, height);
                }
            }
        }
    }
    return rows;
}

std::string fill_of(std::string_view ids, std::size_t look) {
    return std::string_view(kStyles.at(look).lines).empty() ? fmt::format("fill=\"{}\"", kStyles.at(look).colour)
                                                            : fmt::format("fill=\"url(#{}-{})\"", ids, look);
}

std::string patterns(std::string_view ids) {
    std::string text = "<defs>";
    for (std::size_t look = 0; look < kLooks; ++look)
        if (const std::string_view lines = kStyles.at(look).lines; !lines.empty())
            text += fmt::format(
                "<pattern id=\"{}-{}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" "
                "height=\"6\" fill=\"{}\"/><path class=\"smp-t-lines\" d=\"{}\"/></pattern>",
                ids, look, kStyles.at(look).colour, lines);
    return text + "</defs>\n";
}

std::string text_at(double x, double y, std::string_view classes, std::string_view text) {
    return fmt::format("<text class=\"smp-t-text{}\" x=\"{}\" y=\"{}\">{}</text>\n", classes, tenth(x), tenth(y),
                       markup_text(text));
}

std::string legend(const TimelinePicture& picture, std::string_view ids, double y) {
    std::array<bool, kLooks> is_there = {};
    for (const PictureSpan& span : picture.spans) is_there.at(static_cast<std::size_t>(span.look)) = true;
    std::string text;
    double x = kMargin;
    for (std::size_t look = 0; look < kLooks; ++look) {
        if (!is_there.at(look)) continue;
        const std::string_view word = Words<Look>::list.at(look);
        text += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"18\" height=\"12\" {}/>\n", tenth(x), tenth(y - 10),
                            fill_of(ids, look));
        text += text_at(x + 23, y, "", word);
        x += 38 + 7.2 * static_cast<double>(word.size());
    }
    text += fmt::format("<rect class=\"smp-t-idle\" x=\"{}\" y=\"{}\" width=\"18\" height=\"12\"/>\n", tenth(x),
                        tenth(y - 10));
    return text + text_at(x + 23, y, "", "idle");
}

/// Marks at round times, above the rows.
std::string axis(const TimelinePicture& picture, const Layout& layout) {
    const double wanted = static_cast<double>(picture.length) * 90 / layout.width;  // a mark every 90 pixels
    const double power = std::pow(10, std::floor(std::log10(std::max(1.0, wanted))));
    const double step = wanted <= power       ? power
                        : wanted <= 2 * power ? 2 * power
                        : wanted <= 5 * power ? 5 * power
                                              : 10 * power;
    std::string text;
    for (double ns = 0; ns <= static_cast<double>(picture.length); ns += step) {
        const double x = layout.left + layout.pixels(static_cast<std::int64_t>(ns), picture.length);
        text += fmt::format("<path class=\"smp-t-grid\" d=\"M{} {}v5\"/>\n", tenth(x), tenth(layout.top - 8));
        text += text_at(x + 3, layout.top - 9, " smp-t-soft", shown_nanoseconds(static_cast<std::int64_t>(ns)));
    }
    return text;
}

}  // namespace

std::string shown_nanoseconds(std::int64_t nanoseconds) {
    if (nanoseconds == 0) return "0";
    const auto value = static_cast<double>(nanoseconds);
    for (const auto& [size, unit] : {std::pair{1e9, "s"}, std::pair{1e6, "ms"}, std::pair{1e3, "us"}})
        if (std::abs(value) >= size) return fmt::format("{:.3g} {}", value / size, unit);
    return fmt::format("{:.3g} ns", value);
}

PictureSpan picture_span(const Action& action, int chunk_of_stage) {
    const ActionFacts& facts = facts_of(action.kind);
    PictureSpan span;
    span.lane = facts.is_copy() ? Lane::copies : facts.is_posted() ? Lane::communication : Lane::compute;
    switch (facts.activity) {
        case Activity::forward: span.look = Look::forward; break;
        case Activity::backward: span.look = Look::backward; break;
        case Activity::backward_weight: span.look = Look::weight; break;
        case Activity::recompute: span.look = Look::recompute; break;
        case Activity::communication: span.look = facts.is_copy() ? Look::offload : Look::message; break;
        case Activity::reduction: span.look = Look::reduction; break;
        case Activity::optimizer:
        case Activity::other: span.look = Look::optimizer; break;
    }
    if (span.lane != Lane::compute || action.microbatch == kNone) return span;
    span.label = fmt::format("{}", action.microbatch);
    std::string letters;
    for (int i = chunk_of_stage; i >= 0; i = i / 26 - 1)
        letters.insert(letters.begin(), static_cast<char>('a' + i % 26));
    span.label += letters;
    return span;
}

std::string to_svg(const TimelinePicture& picture, const PictureSize& size) {
    require_drawable(picture);
    const bool shows_each = picture.spans.size() <= size.spans;
    const Layout layout = layout_of(picture, shows_each);
    const std::vector<RowDrawing> rows = shows_each ? each_span(picture, layout) : shares(picture, layout);
    const double width = layout.left + layout.width + kMargin;
    const double height = layout.top + layout.row * static_cast<double>(rows.size()) + kMargin;
    std::string text = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\">\n"
        "<title>{2}</title>\n{3}\n{4}<rect class=\"smp-t-bg\" width=\"{0}\" height=\"{1}\"/>\n",
        std::ceil(width), std::ceil(height), markup_text(picture.title), kStyleSheet, patterns(size.ids));
    double y = kMargin + 12;
    text += text_at(kMargin, y, " smp-t-title", picture.title);
    std::vector<std::string> lines = picture.lines;
    if (!shows_each) {
        lines.push_back(fmt::format(
            "{} actions are too many to draw each of them: a column is {} long, and its colours are "
            "the shares of that time",
            picture.spans.size(), shown_nanoseconds(picture.length / static_cast<std::int64_t>(columns_of(picture)))));
        lines.emplace_back("that a row spent on each kind of work; smp_plan --format trace holds every action");
    }
    for (const std::string& line : lines) text += text_at(kMargin, y += kLine, " smp-t-soft", line);
    text += legend(picture, size.ids, y + kLine) + axis(picture, layout);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const double top = layout.top + layout.row * static_cast<double>(i);
        text += text_at(kMargin, top + layout.lane_height[0] / 2 + 4, "", picture.rows[i]);
        text += fmt::format("<g transform=\"translate({} {})\"><rect class=\"smp-t-idle\" width=\"{}\" height=\"{}\"/>",
                            tenth(layout.left), tenth(top), tenth(layout.width), layout.lane_height[0]);
        for (std::size_t look = 0; look < kLooks; ++look)
            if (const std::string& path = rows[i].paths.at(look); !path.empty())
                text += fmt::format("<path {} d=\"{}\"/>", fill_of(size.ids, look), path);
        if (!rows[i].labels.empty()) text += fmt::format("<g class=\"smp-t-label\">{}</g>", rows[i].labels);
        text += "</g>\n";
    }
    return text + "</svg>\n";
}

}  // namespace smp::partition
