// If these fail, the picture of a schedule is not the schedule.
#include "partition/foresight/schedule_diagram.h"

#include <cctype>
#include <cstdio>
#include <map>
#include <sstream>

#include <gmock/gmock.h>

#include "tests/partition/small_jobs.h"

namespace smp::partition {
namespace {

using ::testing::HasSubstr;
using testing::Job;
using ::testing::Not;
using testing::plan_of;

TEST(ScheduleDiagram, ChunksHaveLetters) {
    EXPECT_EQ(schedule_diagram(plan_of({.stages = 2, .microbatches = 3, .chunks_per_stage = 2})),
              R"(interleaved on 2 stages: 3 microbatches, at most 3 active
  0a      forward of microbatch 0, one tick
  [0a  ]  its backward, two ticks
  0b      the same through the second chunk of the stage
  .       idle; messages, reductions and the optimizer take no time here

tick     0                             10                            20
stage 0  0a 1a 2a 0b 1b 2b ...[0b  ]...[1b  ]...[2b  ][0a  ][1a  ][2a  ]
stage 1  ...0a 1a 2a 0b [0b  ]1b [1b  ]2b [2b  ][0a  ][1a  ][2a  ]......

21 ticks; idle time over work (bubble): 16.7 %
)");
}

TEST(ScheduleDiagram, PartsOfABackwardHaveBracketsOfTheirOwn) {
    EXPECT_EQ(
        schedule_diagram(plan_of({.stages = 2, .microbatches = 3, .schedule = PipelineSchedule::zero_bubble})),
        R"(zero_bubble on 2 stages: 3 microbatches, at most 3 active; made for the model's costs, drawn with equal ones
  0       forward of microbatch 0, one tick
  (0)     input part of its backward, one tick
  <0>     weight part of its backward, one tick
  .       idle; messages, reductions and the optimizer take no time here

tick     0
stage 0  0  1  2  (0)...(1)<0>(2)<1><2>
stage 1  ...0  (0)1  (1)2  (2)<0><1><2>

10 ticks; idle time over work (bubble): 11.1 %
)");
}

TEST(ScheduleDiagram, LongOnesGoOnBelowAndVeryLongOnesAreCutWithANote) {
    const Plan plan = plan_of({.stages = 2, .microbatches = 4});  // 15 ticks of 2 columns, beside 9 for the margin
    EXPECT_THAT(schedule_diagram(plan, {.columns = 39}), HasSubstr(R"(
tick     0                   10
stage 0  0 1 2 ..[0 ]3 [1 ]..[2 ]..[3 ]
stage 1  ..0 [0 ]1 [1 ]2 [2 ]3 [3 ]....

15 ticks)"));
    EXPECT_THAT(schedule_diagram(plan, {.columns = 38}), HasSubstr(R"(
tick     0
stage 0  0 1 2 ..[0 ]3 [1 ]..
stage 1  ..0 [0 ]1 [1 ]2 [2 ]

tick     10
stage 0  [2 ]..[3 ]
stage 1  3 [3 ]....

15 ticks)"));
    EXPECT_THAT(schedule_diagram(plan, {.columns = 20, .bands = 2}), HasSubstr(R"(
tick     0
stage 0  0 1 2 ..[0
stage 1  ..0 [0 ]1

tick     5
stage 0   ]3 [1 ]..
stage 1  [1 ]2 [2 ]

The first 10 of 15 ticks; --format trace holds all.
)"));
    EXPECT_THAT(schedule_diagram(plan, {.columns = 1}), Not(HasSubstr("The first")));  // one tick a band
}

/// What the rows of a picture show, stage by stage: labels with their brackets, from left to right.
std::map<int, std::vector<std::string>> drawn(const std::string& picture) {
    std::map<int, std::string> rows;
    std::istringstream lines(picture);
    for (std::string line; std::getline(lines, line);) {
        int stage = 0, margin = 0;
        if (std::sscanf(line.c_str(), "stage %d  %n", &stage, &margin) == 1)
            rows[stage] += line.substr(static_cast<std::size_t>(margin)) + ' ';
    }
    std::map<int, std::vector<std::string>> cells;
    for (const auto& [stage, row] : rows) {
        std::string cell;
        const auto close = [&, &list = cells[stage]] {
            if (!cell.empty()) list.push_back(cell);
            cell.clear();
        };
        for (const char c : row) {
            const bool begins = c == '[' || c == '(' || c == '<';
            if (begins || c == '.') close();
            if (std::isalnum(static_cast<unsigned char>(c)) || begins) cell += c;
            if (c == ' ' || c == ']' || c == ')' || c == '>') close();
        }
    }
    return cells;
}

TEST(ScheduleDiagram, ShowsEveryStepOfEveryScheduleInItsOrder) {
    for (const Job& job : std::vector<Job>{
             {.stages = 1, .microbatches = 12},
             {.stages = 3, .microbatches = 11, .active = 2},
             {.stages = 4, .microbatches = 8, .schedule = PipelineSchedule::simple},
             {.stages = 4, .microbatches = 30, .schedule = PipelineSchedule::zero_bubble},
             {.stages = 12, .microbatches = 4, .tied = true},
             {.stages = 2, .microbatches = 9, .chunks_per_stage = 28},
         }) {
        const Plan plan = plan_of(job);
        std::map<int, std::vector<std::string>> expected;
        for (int stage = 0; stage < job.stages; ++stage) {
            for (const Action& action : plan.training[StageId(stage)].actions) {
                static const std::map<ActionKind, std::string> kBrackets = {{ActionKind::forward, ""},
                                                                            {ActionKind::backward, "["},
                                                                            {ActionKind::backward_input, "("},
                                                                            {ActionKind::backward_weight, "<"}};
                const auto bracket = kBrackets.find(action.kind);
                if (bracket == kBrackets.end()) continue;
                const int chunk = action.chunk.number() / job.stages;
                std::string letters = chunk >= 26 ? "a" : "";
                letters += static_cast<char>('a' + chunk % 26);
                expected[stage].push_back(
                    fmt::format("{}{}{}", bracket->second, action.microbatch, job.chunks_per_stage > 1 ? letters : ""));
            }
        }
        EXPECT_EQ(drawn(schedule_diagram(plan, {.columns = 100'000})), expected);
    }
}

}  // namespace
}  // namespace smp::partition
