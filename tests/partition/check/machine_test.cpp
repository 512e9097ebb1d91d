// If these fail, what is proven of plans does not hold on backends that run the operations of a communicator one after
// another, as NCCL does.
#include "partition/check/machine.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "partition/check/checker_passes.h"
#include "tests/partition/every_job.h"

namespace smp::partition {
namespace {

using passes::check_end;
using ::testing::AllOf;
using ::testing::Contains;
using testing::every_job;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Job;
using testing::plan_of;
using testing::text_of;

TEST(Machine, EveryScheduleEndsWithACommunicatorAnEdge) {
    const std::vector<Job> jobs = every_job({1, 2, 3, 4, 8}, {1, 2, 5, 8, 32}, 4);
    EXPECT_GT(jobs.size(), 500);
    for (const Job& job : jobs) {
        const Plan plan = plan_of(job);
        for (const Programs& programs : {plan.training, plan.evaluation})
            ASSERT_THAT(check_end(programs), IsEmpty()) << text_of(job);
    }
}

// One communicator for all messages of a channel orders messages of different edges by chance of their issue: up and
// down, from the one and to the other neighbour.
TEST(Machine, FewerCommunicatorsAreRefusedByTheTwoThatHoldEachOtherUp) {
    const auto findings_of = [](const Job& job) {
        return check_end(plan_of(job).training, Communicators::one_a_channel);
    };
    // Each of two ranks sends its copy's gradient behind the receive of the other's.
    EXPECT_THAT(findings_of({.stages = 2, .microbatches = 4, .tied = true}),
                Contains(AllOf(HasSubstr("stage 0 action"), HasSubstr("(send tied chunk0 -> stage 1) stands behind"),
                               HasSubstr("(receive tied chunk0 <- stage 1) on its communicator"))));
    EXPECT_THAT(findings_of({.stages = 4, .microbatches = 8, .active = 4}),
                Contains(AllOf(HasSubstr("waits for ever for action"), HasSubstr("gradients mb"),
                               HasSubstr("stands behind stage"), HasSubstr("on its communicator"))));
    EXPECT_THAT(findings_of({.stages = 2, .microbatches = 4, .chunks_per_stage = 3}),
                Contains(HasSubstr("on its communicator")));
    // Nothing crosses.
    EXPECT_THAT(findings_of({.stages = 2, .microbatches = 4}), IsEmpty());
    EXPECT_THAT(findings_of({.stages = 4, .microbatches = 8, .schedule = PipelineSchedule::simple}), IsEmpty());
}

/// The machine's rules once more, tried on all actions over and over until nothing moves: which stages end.
std::vector<bool> stages_that_end(const Programs& programs, Communicators communicators) {
    struct State {
        bool is_posted = false, is_done = false;
    };
    Table<StageId, Table<ActionId, State>> state;
    Table<StageId, ActionId> next(programs.size(), ActionId(0));
    for (const RankProgram& program : programs) state.emplace_back(program.actions.size());
    const auto at = [&](Place place) -> State& { return state[place.stage][place.position]; };
    const auto is_message = [](const Action& a) { return a.kind == ActionKind::send || a.kind == ActionKind::receive; };

    std::map<std::tuple<Channel, StageId, StageId>, std::pair<std::vector<Place>, std::vector<Place>>> messages;
    Table<StageId, std::map<std::tuple<Stream, Channel, StageId, StageId>, std::vector<Place>>> lanes(programs.size());
    std::vector<std::vector<Place>> transfers;
    std::map<std::pair<StageId, ActionId>, const std::vector<Place>*> lane_of;
    for (const StageId stage : programs.ids()) {
        for (const ActionId i : programs[stage].actions.ids()) {
            const Action& a = programs[stage].actions[i];
            if (a.stream == Stream::compute) continue;
            const bool sends = a.kind == ActionKind::send;
            const StageId from = sends ? stage : a.peer, to = sends ? a.peer : stage;
            const bool by_edge = is_message(a) && communicators == Communicators::one_an_edge;
            auto& lane = lanes[stage][{a.stream, a.channel, by_edge ? from : kNone, by_edge ? to : kNone}];
            lane.push_back({stage, i});
            lane_of[{stage, i}] = &lane;
            if (!is_message(a)) {
                transfers.push_back({{stage, i}});
                continue;
            }
            auto& sides = messages[{a.channel, from, to}];
            (sends ? sides.first : sides.second).push_back({stage, i});
        }
    }
    for (const auto& [edge, sides] : messages)
        for (std::size_t n = 0; n < sides.first.size(); ++n) transfers.push_back({sides.first[n], sides.second.at(n)});

    for (bool moved = true; moved;) {
        moved = false;
        const auto has_come = [&](StageId stage, EventId event) {
            for (const ActionId i : programs[stage].actions.ids())
                if (programs[stage].actions[i].signals == event) return at({stage, i}).is_done;
            return false;
        };
        std::vector<Place> in_world;
        for (const StageId stage : programs.ids()) {
            while (next[stage] < programs[stage].actions.end_id()) {
                const Place here{stage, next[stage]};
                const Action& a = programs[stage].actions[here.position];
                if (!std::ranges::all_of(a.waits, [&](EventId event) { return has_come(stage, event); })) break;
                if (a.channel == Channel::world) {
                    in_world.push_back(here);
                    break;
                }
                at(here).is_posted = moved = true;
                at(here).is_done = a.stream == Stream::compute;
                ++next[stage];
            }
        }
        if (in_world.size() == programs.size()) {
            for (const Place place : in_world) {
                at(place).is_done = moved = true;
                ++next[place.stage];
            }
        }
        for (const auto& ends : transfers) {
            const bool can = std::ranges::all_of(ends, [&](Place end) {
                if (!at(end).is_posted || at(end).is_done) return false;
                for (const Place other : *lane_of.at({end.stage, end.position})) {
                    if (other == end) return true;
                    if (!at(other).is_done) return false;
                }
                return false;
            });
            for (const Place end : ends) at(end).is_done = at(end).is_done || can;
            moved = moved || can;
        }
    }
    std::vector<bool> ended;
    for (const StageId stage : programs.ids()) ended.push_back(next[stage] == programs[stage].actions.end_id());
    return ended;
}

TEST(Machine, StopsWhereItsRulesSayStatedOnceMore) {
    int ended = 0, stopped = 0;
    for (const Job& job : every_job({2, 3, 4}, {3, 6}, 2)) {
        const Programs programs = plan_of(job).training;
        for (const auto communicators : {Communicators::one_an_edge, Communicators::one_a_channel}) {
            const std::vector<bool> ends = stages_that_end(programs, communicators);
            const auto findings = check_end(programs, communicators);
            ASSERT_EQ(findings.size(), static_cast<std::size_t>(std::ranges::count(ends, false))) << text_of(job);
            for (const StageId stage : programs.ids()) {
                if (ends[stage.index()]) continue;
                const std::string begin = fmt::format("stage {} action ", stage);
                ASSERT_TRUE(std::ranges::any_of(findings, [&](const auto& text) { return text.starts_with(begin); }));
            }
            ++(findings.empty() ? ended : stopped);
        }
    }
    EXPECT_GT(ended, 60);
    EXPECT_GT(stopped, 20);
}

}  // namespace
}  // namespace smp::partition
