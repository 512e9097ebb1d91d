// If these fail, the picture of a schedule is not the schedule, or no browser shows it.
#include "partition/foresight/schedule_picture.h"

#include <cstdio>
#include <map>
#include <regex>

#include <gmock/gmock.h>

#include "partition/foresight/durations.h"
#include "partition/foresight/markup.h"
#include "tests/partition/small_jobs.h"
#include "tests/well_formed.h"

namespace smp::partition {
namespace {

using ::testing::HasSubstr;
using testing::Job;
using ::testing::Not;
using testing::plan_of;

/// Every action takes as many ticks as its kind has letters: all differ, and nothing takes no time.
Timeline timeline_of(const Plan& plan) {
    Durations durations;
    for (const RankProgram& program : plan.training) {
        auto& list = durations.emplace_back();
        for (const Action& action : program.actions)
            list.push_back({.duration = 1000 * static_cast<std::int64_t>(facts_of(action.kind).word.size())});
    }
    return simulate(plan.training, durations);
}

struct Bar {
    double left = 0, top = 0, width = 0, height = 0;
};

/// Bars of a row in the fill of one look, and the labels of the row.
std::vector<Bar> bars_of(const std::string& svg, std::size_t row, std::string_view fill) {
    std::size_t at = 0;
    for (std::size_t i = 0; i <= row; ++i) at = svg.find("<g transform", at + 1);
    const std::string text = svg.substr(at, svg.find("</g>\n", at) - at);
    const std::string begin = fmt::format("<path fill=\"{}\" d=\"", fill);
    const std::size_t found = text.find(begin);
    if (found == std::string::npos) return {};
    const std::size_t first = found + begin.size();
    const std::string path = text.substr(first, text.find('"', first) - first);
    std::vector<Bar> bars;
    for (std::size_t p = path.find('M'); p != std::string::npos; p = path.find('M', p + 1)) {
        Bar bar;
        EXPECT_EQ(std::sscanf(path.c_str() + p, "M%lf %lfh%lfv%lf", &bar.left, &bar.top, &bar.width, &bar.height), 4);
        bars.push_back(bar);
    }
    return bars;
}

std::vector<std::string> labels_of(const std::string& svg, std::size_t row) {
    std::size_t at = 0;
    for (std::size_t i = 0; i <= row; ++i) at = svg.find("<g transform", at + 1);
    const std::string text = svg.substr(at, svg.find("</g></g>", at) - at);
    static const std::regex kLabel(R"(<text[^>]*>([^<]*)</text>)");
    std::vector<std::string> labels;
    for (std::sregex_iterator i(text.begin(), text.end(), kLabel), end; i != end; ++i) labels.push_back((*i)[1]);
    return labels;
}

constexpr const char* kForward = "#6cb4ee";

TEST(SchedulePicture, HasABarAndANumberForEveryComputationWhereItRuns) {
    for (const Job& job : std::vector<Job>{{.stages = 1, .microbatches = 3},
                                           {.stages = 4, .microbatches = 8},
                                           {.stages = 3, .microbatches = 6, .schedule = PipelineSchedule::zero_bubble},
                                           {.stages = 2, .microbatches = 4, .chunks_per_stage = 3}}) {
        const Plan plan = plan_of(job);
        const Timeline timeline = timeline_of(plan);
        const std::string svg = to_svg(schedule_picture(plan, timeline));
        EXPECT_EQ(smp::testing::fault_of_xml(svg), "");
        EXPECT_THAT(svg, HasSubstr(markup_text(layout_title(plan))));
        for (const StageId stage : plan.training.ids()) {
            std::vector<std::string> labels;
            std::vector<double> starts;  // of forwards, as fractions of the step
            const auto& actions = plan.training[stage].actions;
            for (const ActionId i : actions.ids()) {
                if (facts_of(actions[i].kind).computation || actions[i].kind == ActionKind::recompute) {
                    const int chunk = actions[i].chunk.number() / job.stages;
                    const std::string letter =
                        job.chunks_per_stage > 1 ? std::string(1, static_cast<char>('a' + chunk)) : "";
                    labels.push_back(fmt::format("{}{}", actions[i].microbatch, letter));
                }
                if (actions[i].kind == ActionKind::forward)
                    starts.push_back(static_cast<double>(timeline.spans[stage][i].start) /
                                     static_cast<double>(timeline.makespan));
            }
            EXPECT_EQ(labels_of(svg, stage.index()), labels);
            const auto bars = bars_of(svg, stage.index(), kForward);
            ASSERT_EQ(bars.size(), starts.size());
            double width = 0;
            ASSERT_EQ(std::sscanf(svg.c_str() + svg.find("smp-t-idle\" width=\""), "smp-t-idle\" width=\"%lf", &width),
                      1);
            for (std::size_t i = 0; i < bars.size(); ++i)
                EXPECT_NEAR(bars[i].left, width * starts[i], 0.051);  // rounded
        }
    }
}

TEST(SchedulePicture, KindsOfWorkHaveDifferentFillsAndStandInTheLegendWhereTheyOccur) {
    TimelinePicture picture{.title = "all", .lines = {}, .rows = {"rank"}, .spans = {}, .length = 800};
    for (int look = 0; look < 8; ++look)
        picture.spans.push_back({.look = static_cast<Look>(look), .start = 100 * look, .end = 100 * look + 100});
    const std::string all = to_svg(picture, {.ids = "a"});
    std::map<std::string, int> fills;
    static const std::regex kFill(R"x(<path (fill="[^"]+") d=)x");
    for (std::sregex_iterator i(all.begin(), all.end(), kFill), end; i != end; ++i) ++fills[(*i)[1]];
    EXPECT_EQ(fills.size(), 8U);
    for (const std::string_view word : Words<Look>::list) EXPECT_THAT(all, HasSubstr(fmt::format(">{}</text>", word)));
    EXPECT_THAT(all, HasSubstr("prefers-color-scheme:dark"));
    picture.spans.resize(1);
    const std::string one = to_svg(picture);
    EXPECT_THAT(one, HasSubstr(">forward</text>"));
    EXPECT_THAT(one, Not(HasSubstr(">offload</text>")));
}

// Sixty-four stages and 512 microbatches are 400,000 actions.
TEST(SchedulePicture, ALargeOneIsSharesOfTimeThatAddUpAndSaysSo) {
    const Plan plan = plan_of({.stages = 64, .microbatches = 512});
    const Timeline timeline = timeline_of(plan);
    const TimelinePicture picture = schedule_picture(plan, timeline);
    const std::string svg = to_svg(picture);
    EXPECT_LT(svg.size(), 1'000'000U);
    EXPECT_EQ(smp::testing::fault_of_xml(svg), "");
    EXPECT_THAT(svg, HasSubstr(fmt::format("{} actions are too many to draw each", picture.spans.size())));
    const double width = 900, height = 16;
    for (const std::size_t row : {std::size_t{0}, std::size_t{31}, std::size_t{63}}) {
        double area = 0;
        for (const Bar& bar : bars_of(svg, row, kForward)) area += bar.width * bar.height;
        std::int64_t work = 0;
        for (const PictureSpan& span : picture.spans)
            if (span.row == static_cast<int>(row) && span.look == Look::forward) work += span.end - span.start;
        // A column's height and width are rounded to 0.1 pixels; the width is the same for all of them.
        const double expected = width * height * static_cast<double>(work) / static_cast<double>(timeline.makespan);
        EXPECT_NEAR(area, expected, 0.02 * expected) << row;
    }
}

TEST(SchedulePicture, NamesAreText) {
    TimelinePicture picture{
        .title = "<a> & \"b\" \x01\xff", .lines = {"</svg>"}, .rows = {"'r' <"}, .spans = {}, .length = 1};
    const std::string svg = to_svg(picture);
    EXPECT_EQ(smp::testing::fault_of_xml(svg), "");
    EXPECT_THAT(svg, HasSubstr("&lt;a&gt; &amp; &quot;b&quot; \xef\xbf\xbd\xef\xbf\xbd"));
    picture.spans.push_back({.row = 1});
    EXPECT_THROW(to_svg(picture), std::logic_error);
    picture.spans = {{.start = 2, .end = 1}};
    EXPECT_THROW(to_svg(picture), std::logic_error);
}

TEST(SchedulePicture, TextOfAnyBytesIsUtf8) {
    EXPECT_EQ(markup_text("\xc3\xa4 \xe2\x80\xa6 \xf0\x9f\x98\x80"), "\xc3\xa4 \xe2\x80\xa6 \xf0\x9f\x98\x80");
    for (const char* bad : {"\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\x80", "\xe2\x80"})
        EXPECT_THAT(markup_text(bad), ::testing::StartsWith("\xef\xbf\xbd")) << bad;
}

}  // namespace
}  // namespace smp::partition
