// The simulator on whole schedules: against the player of timeline.h, closed forms, and its own rules stated once more.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "partition/foresight/memory_peaks.h"
#include "partition/foresight/simulator.h"
#include "partition/plan/lowering.h"
#include "tests/partition/small_jobs.h"
#include "tests/partition/timeline.h"

namespace smp::partition {
namespace {

using testing::Costs;
using testing::Job;
using testing::plan_of;

bool is_transfer(const Action& action) { return action.stream == Stream::communication; }

template <typename PriceOf>
Durations prices_by(const Programs& programs, PriceOf price_of) {
    Durations durations;
    for (const RankProgram& program : programs) {
        durations.emplace_back();
        for (const Action& action : program.actions) durations.back().push_back(price_of(action));
    }
    return durations;
}

/// Messages that are never held up by another one; everything but steps and messages costs nothing.
Durations prices_of(const Programs& programs, const Costs& costs) {
    return prices_by(programs, [&](const Action& action) {
        return action.kind == ActionKind::send ? ActionDuration{.latency = costs.latency}
                                               : ActionDuration{.duration = costs.of(action.kind)};
    });
}

/// The training programs of a job whose chunks all cost the same: F 1, B 2, W 1, which the closed forms are for.
/// (A plan's own orders go by the costs of its graph.)
Programs programs_of(const Job& job) {
    const int p = job.stages, m = job.microbatches, count = p * job.chunks_per_stage;
    const int active = job.active.value_or(m);
    const ModuleGraph graph = testing::chain(count, job.tied);
    const Placement placement = in_turn(p, job.chunks_per_stage);
    Chunks chunks;
    for (int c = 0; c < count; ++c)
        chunks.push_back({.stage = placement.stage_of(ChunkId(c)),
                          .first_module = c == 0 ? 0 : c + 1,
                          .end_module = c + 1 == count ? count + 2 : c + 2});
    const ComputeOrders orders = job.schedule == PipelineSchedule::simple        ? simple_orders(p, m)
                                 : job.schedule == PipelineSchedule::zero_bubble ? zero_bubble_orders(p, m, active)
                                 : job.chunks_per_stage > 1 ? chunked_orders(p, job.chunks_per_stage, m, active)
                                                            : interleaved_orders(p, m, active);
    return lower(graph, chunks, flat_sections(graph, chunks, 1), orders, m, {.receives_ahead = 3});
}

/// All schedules for a few stages, microbatches, chunks and bounds.
template <typename Body>
void for_all_jobs(int most_stages, int most_microbatches, Body body) {
    for (int p = 1; p <= most_stages; ++p) {
        for (int m = 1; m <= most_microbatches; ++m) {
            body(Job{.stages = p, .microbatches = m, .schedule = PipelineSchedule::simple, .tied = true});
            for (int active = 1; active <= m; ++active) {
                for (const auto schedule : {PipelineSchedule::interleaved, PipelineSchedule::zero_bubble}) {
                    body(Job{.stages = p, .microbatches = m, .active = active, .schedule = schedule, .tied = true});
                }
            }
            for (const int active : std::set<int>{std::min(m, 2 * p), m})
                body(Job{.stages = p, .microbatches = m, .active = active, .tied = true, .chunks_per_stage = 2});
        }
    }
}

std::string text_of(const Job& job) {
    return fmt::format("{}, {} stages, {} chunks each, {} microbatches, K {}", word_of(job.schedule), job.stages,
                       job.chunks_per_stage, job.microbatches, job.active.value_or(0));
}

TEST(SimulatedSchedule, LastsAsLongAsWhenPlayedThrough) {
    for_all_jobs(6, 12, [](const Job& job) {
        const Programs programs = programs_of(job);
        for (const Costs& costs :
             {Costs{.forward = 1, .backward = 2}, Costs{.forward = 10, .backward = 20, .latency = 5, .weight = 9},
              Costs{.forward = 10, .backward = 13, .latency = 14, .weight = 5}}) {
            const Timeline timeline = simulate(programs, prices_of(programs, costs));
            std::int64_t last_step = 0;
            for (const auto r : programs.ids()) {
                for (const auto i : programs[r].actions.ids()) {
                    if (costs.of(programs[r].actions[i].kind) > 0)
                        last_step = std::max(last_step, timeline.spans[r][i].end);
                }
            }
            ASSERT_EQ(last_step, testing::makespan(programs, costs)) << text_of(job) << ", latency " << costs.latency;
            ASSERT_TRUE(costs.latency > 0 || timeline.makespan == last_step) << text_of(job);
        }
    });
}

TEST(SimulatedSchedule, ForwardOnlyLastsAsLongAsWhenPlayedThrough) {
    for (int p = 1; p <= 6; ++p) {
        for (int m = 1; m <= 12; ++m) {
            const Plan plan = plan_of({.stages = p, .evaluation_microbatches = m});
            for (const Programs& programs : {plan.evaluation, plan.sampling}) {
                const Costs costs{.forward = 3, .latency = 2};
                EXPECT_EQ(simulate(programs, prices_of(programs, costs)).makespan, testing::makespan(programs, costs));
            }
        }
    }
}

/// Idle over ideal time is over/under, in whole numbers, with F:B = 1:2 and nothing else that takes time.
void expect_bubble(const Job& job, std::int64_t over, std::int64_t under) {
    const Programs programs = programs_of(job);
    const Timeline timeline = simulate(programs, prices_of(programs, {.forward = 1, .backward = 2, .weight = 1}));
    std::int64_t ideal = 0, bubble = 0;
    for (const StageTime& time : timeline.stages) {
        ideal += time.compute;
        bubble += time.bubble;
        EXPECT_EQ(time.exposed, 0);
    }
    ASSERT_EQ(ideal, std::int64_t{3} * job.stages * job.chunks_per_stage * job.microbatches);
    ASSERT_EQ(bubble, job.stages * timeline.makespan - ideal);
    ASSERT_EQ(bubble * under, over * ideal) << text_of(job);
    EXPECT_DOUBLE_EQ(timeline.bubble(), static_cast<double>(over) / static_cast<double>(under));
}

TEST(SimulatedSchedule, HasTheBubbleOfItsClosedForm) {
    for (int p = 1; p <= 8; ++p) {
        for (int m = 1; m <= 32; ++m) {
            expect_bubble({.stages = p, .microbatches = m, .schedule = PipelineSchedule::simple}, p - 1, m);
            // Where K < p the bubble is larger: (p − 1)/m is that of K = min(m, p) = p, and of m < p with all active.
            expect_bubble({.stages = p, .microbatches = m, .active = std::min(m, p)}, p - 1, m);
        }
    }
}

TEST(SimulatedSchedule, HasTheBubbleOfItsClosedFormWithChunks) {
    for (int p = 1; p <= 8; ++p) {
        for (int v = 2; v <= 4; ++v) {
            for (int m = p; m <= 32; m += p) {
                expect_bubble({.stages = p, .microbatches = m, .active = std::min(m, 2 * p), .chunks_per_stage = v},
                              p - 1, v * m);
            }
        }
    }
}

TEST(SimulatedSchedule, HasTheBubbleOfH1) {
    for (int p = 1; p <= 8; ++p) {
        for (int m = p; m <= 32; ++m) {
            // (p−1)(F+B−2W)/(m(F+B)) with F 1, B 2, W 1.
            expect_bubble({.stages = p, .microbatches = m, .active = p, .schedule = PipelineSchedule::zero_bubble},
                          p - 1, 3 * m);
        }
    }
}

TEST(SimulatedSchedule, HoldsAsManyStashesAsTheScheduleAllows) {
    for (int p = 1; p <= 5; ++p) {
        for (int m = 1; m <= 9; ++m) {
            for (int active = 1; active <= m; ++active) {
                const Programs programs = programs_of({.stages = p, .microbatches = m, .active = active});
                for (const StageId stage : programs.ids()) {
                    std::int64_t stash = 0;
                    for (const Buffer& buffer : programs[stage].buffers)
                        if (buffer.kind == BufferKind::stash) stash = buffer.bytes;
                    const MemoryBytes peaks = memory_peaks(programs[stage]).of_category;
                    ASSERT_EQ(peaks[static_cast<std::size_t>(MemoryCategory::activations)],
                              std::min(m, in_flight_limit(stage, p, active)) * stash);
                }
            }
        }
    }
}

// From here on: any schedule at any durations.

struct Priced {
    Programs programs;
    Durations durations;
};

Job any_job() {
    Job job{.stages = *rc::gen::inRange(1, 6),
            .microbatches = *rc::gen::inRange(1, 9),
            .tied = *rc::gen::arbitrary<bool>()};
    job.schedule =
        *rc::gen::element(PipelineSchedule::simple, PipelineSchedule::interleaved, PipelineSchedule::zero_bubble);
    int least_active = 1;
    if (job.schedule == PipelineSchedule::interleaved) job.chunks_per_stage = *rc::gen::inRange(1, 4);
    if (job.chunks_per_stage > 1) least_active = std::min(job.microbatches, 2 * job.stages);
    if (job.schedule != PipelineSchedule::simple) job.active = *rc::gen::inRange(least_active, job.microbatches + 1);
    return job;
}

enum class Links { contended, never_contended };

/// Few different durations, so that much happens at one tick, or many. A transfer takes some time, or else one could
/// become ready at the very tick at which its link has served another one because of that one.
Priced any_priced_programs(Links links) {
    Priced priced{.programs = programs_of(any_job()), .durations = {}};
    const auto most = *rc::gen::element<std::int64_t>(2, 30);
    priced.durations = prices_by(priced.programs, [&](const Action& action) {
        const auto any = *rc::gen::inRange<std::int64_t>(0, most + 1);
        if (!is_transfer(action)) return ActionDuration{.duration = any};
        return ActionDuration{.duration = links == Links::contended ? *rc::gen::inRange<std::int64_t>(1, most + 1) : 0,
                              .latency = any};
    });
    return priced;
}

struct Message {
    Place send, receive;
    std::int64_t ready = 0;
};

const Action& action_at(const Programs& programs, Place at) { return programs[at.stage].actions[at.position]; }
const ActionSpan& run_at(const Timeline& timeline, Place at) { return timeline.spans[at.stage][at.position]; }
const ActionDuration& price_at(const Durations& durations, Place at) { return durations[at.stage][at.position]; }

std::vector<Place> all_places(const Programs& programs) {
    std::vector<Place> places;
    for (const auto r : programs.ids())
        for (const auto i : programs[r].actions.ids()) places.push_back({r, i});
    return places;
}

/// By (from, to), then in the order in which a link serves them. Reductions are a message to oneself.
std::map<std::pair<StageId, StageId>, std::vector<Message>> messages_of(const Programs& programs,
                                                                        const Timeline& timeline) {
    std::map<std::tuple<StageId, StageId, Channel>, std::pair<std::vector<Place>, std::vector<Place>>> sides;
    for (const Place at : all_places(programs)) {
        const Action& action = action_at(programs, at);
        if (action.kind == ActionKind::send) sides[{at.stage, action.peer, action.channel}].first.push_back(at);
        if (action.kind == ActionKind::receive) sides[{action.peer, at.stage, action.channel}].second.push_back(at);
        if (action.kind != ActionKind::reduce_gradients) continue;
        sides[{at.stage, at.stage, action.channel}].first.push_back(at);
        sides[{at.stage, at.stage, action.channel}].second.push_back(at);
    }
    std::map<std::pair<StageId, StageId>, std::vector<Message>> messages;
    for (const auto& [key, pair] : sides) {
        auto& list = messages[{std::get<0>(key), std::get<1>(key)}];
        for (std::size_t n = 0; n < pair.first.size(); ++n) {
            const Place send = pair.first[n], receive = pair.second.at(n);
            list.push_back({send, receive, std::max(run_at(timeline, send).posted, run_at(timeline, receive).posted)});
        }
    }
    // Stable, from the order by channel and then by posting.
    for (auto& [link, list] : messages) {
        std::stable_sort(list.begin(), list.end(),
                         [](const Message& a, const Message& b) { return a.ready < b.ready; });
    }
    return messages;
}

/// When the stage of `at` has no wait left to stand at before it, given when it came there.
std::int64_t waits_end(const Programs& programs, const Timeline& timeline, Place at, std::int64_t came) {
    const RankProgram& program = programs[at.stage];
    for (const ActionId i : first_ids<ActionId>(at.position.number())) {
        const EventId event = program.actions[i].signals;
        const auto& waits = action_at(programs, at).waits;
        if (event != kNone && std::find(waits.begin(), waits.end(), event) != waits.end())
            came = std::max(came, run_at(timeline, {at.stage, i}).end);
    }
    return came;
}

// The rules leave one timeline only: lists issued in order, links that serve whoever is ready first and never rest.
RC_GTEST_PROP(SimulatedSchedule, KeepsTheRules, ()) {
    const auto [programs, durations] = any_priced_programs(Links::contended);
    const Timeline timeline = simulate(programs, durations);
    std::int64_t last = 0, world_from = 0;
    for (const auto r : programs.ids())  // one collective over the world, the last action of each
        world_from = std::max(world_from, timeline.spans[r].back().posted);
    Table<StageId, std::int64_t> now(programs.size(), 0);
    for (const Place at : all_places(programs)) {
        const Action& action = action_at(programs, at);
        const ActionSpan& run = run_at(timeline, at);
        std::int64_t& clock = now[at.stage];
        clock = waits_end(programs, timeline, at, clock);
        RC_ASSERT(run.posted == clock);
        last = std::max(last, run.end);
        if (is_transfer(action)) continue;
        RC_ASSERT(run.start == (action.channel == Channel::world ? world_from : clock));
        RC_ASSERT(run.end == run.start + price_at(durations, at).duration);
        clock = run.end;
    }
    RC_ASSERT(timeline.makespan == last);
    for (const auto& [link, messages] : messages_of(programs, timeline)) {
        std::int64_t free_at = 0;
        for (const Message& message : messages) {
            const ActionSpan &sent = run_at(timeline, message.send), &received = run_at(timeline, message.receive);
            const ActionDuration& duration = price_at(durations, message.send);
            RC_ASSERT(sent.start == std::max(free_at, message.ready));
            RC_ASSERT(sent.end == sent.start + duration.duration + duration.latency);
            RC_ASSERT(received.start == sent.start);
            RC_ASSERT(received.end == sent.end);
            free_at = sent.start + duration.duration;
        }
    }
}

// Tick by tick: a stage that stands still at its waits is exposed if each of those still to come has been posted by
// both sides.
RC_GTEST_PROP(SimulatedSchedule, SharesItsTimeOut, ()) {
    const auto [programs, durations] = any_priced_programs(Links::contended);
    const Timeline timeline = simulate(programs, durations);
    std::map<std::pair<StageId, EventId>, std::int64_t> ready;  // by stage and event
    for (const auto& [link, messages] : messages_of(programs, timeline)) {
        for (const Message& message : messages) {
            for (const Place side : {message.send, message.receive})
                ready[{side.stage, action_at(programs, side).signals}] = message.ready;
        }
    }
    Table<StageId, StageTime> expected(programs.size());
    Table<StageId, std::int64_t> now(programs.size(), 0);
    for (const Place at : all_places(programs)) {
        StageTime& time = expected[at.stage];
        std::int64_t& clock = now[at.stage];
        const std::int64_t until = waits_end(programs, timeline, at, clock);
        for (; clock < until; ++clock) {
            const auto& waits = action_at(programs, at).waits;
            const bool all_made = std::all_of(waits.begin(), waits.end(), [&](EventId event) {
                const auto known = ready.find({at.stage, event});
                return known == ready.end() || known->second <= clock;
            });
            ++(all_made ? time.exposed : time.bubble);
        }
        if (is_transfer(action_at(programs, at))) continue;
        const ActionSpan& run = run_at(timeline, at);
        time.bubble += run.start - clock;
        time.compute += run.end - run.start;
        clock = run.end;
    }
    for (const auto r : programs.ids()) {
        expected[r].bubble += timeline.makespan - now[r];
        RC_ASSERT(timeline.stages[r] == expected[r]);
        RC_ASSERT(expected[r].compute + expected[r].exposed + expected[r].bubble == timeline.makespan);
    }
}

// What is alive at each tick, found buffer by buffer, is never more than what the order of the list says.
RC_GTEST_PROP(SimulatedSchedule, HoldsNoMoreThanItsOrderSays, ()) {
    const auto [programs, durations] = any_priced_programs(Links::contended);
    const Timeline timeline = simulate(programs, durations);
    for (const StageId r : programs.ids()) {
        const RankProgram& program = programs[r];
        const MemoryPeaks peaks = memory_peaks(program);
        MemoryBytes most = {};
        for (std::int64_t tick = 0; tick <= timeline.makespan; ++tick) {
            MemoryBytes alive = {};
            for (const BufferId b : program.buffers.ids()) {
                const Buffer& buffer = program.buffers[b];
                const auto touches = [&](const std::vector<BufferId>& list) {
                    return std::find(list.begin(), list.end(), b) != list.end();
                };
                bool is_alive = buffer.kind == BufferKind::parameters || buffer.kind == BufferKind::gradients;
                for (const ActionId i : program.actions.ids()) {
                    const Action& action = program.actions[i];
                    const ActionSpan& run = timeline.spans[r][i];
                    if (!is_passing(buffer)) break;
                    if (touches(action.writes))
                        is_alive = (action.stream != Stream::compute ? run.posted : run.start) <= tick;
                    if (touches(action.frees) && run.end <= tick) is_alive = false;
                    if (touches(action.consumes) && run.start <= tick) is_alive = false;  // handed over
                }
                if (is_alive) alive[static_cast<std::size_t>(category_of(buffer))] += buffer.bytes;
            }
            for (std::size_t c = 0; c < kMemoryCategories; ++c) most[c] = std::max(most[c], alive[c]);
        }
        for (std::size_t c = 0; c < kMemoryCategories; ++c) RC_ASSERT(most[c] <= peaks.of_category[c]);
    }
}

RC_GTEST_PROP(SimulatedSchedule, HasACriticalPathWithoutGaps, ()) {
    const auto [programs, durations] = any_priced_programs(Links::contended);
    const Timeline timeline = simulate(programs, durations);
    const std::vector<Place> path = critical_path(timeline);
    RC_ASSERT(!path.empty());
    RC_ASSERT(run_at(timeline, path.front()).start == 0);
    RC_ASSERT(run_at(timeline, path.back()).end == timeline.makespan);
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const ActionSpan &run = run_at(timeline, path[i]), &next = run_at(timeline, path[i + 1]);
        const bool waited_for_its_link = is_transfer(action_at(programs, path[i])) && next.start != run.end &&
                                         is_transfer(action_at(programs, path[i + 1]));
        RC_ASSERT(next.start == (waited_for_its_link ? run.start + price_at(durations, path[i]).duration : run.end));
        RC_ASSERT(action_at(programs, path[i]).kind != ActionKind::receive);
    }
}

// Where no link is ever contended a timeline is a matter of longest paths: what is added to an action of one is added
// to the step.
RC_GTEST_PROP(SimulatedSchedule, IsAsMuchLongerAsAnActionOnItsCriticalPath, ()) {
    auto [programs, durations] = any_priced_programs(Links::never_contended);
    const Timeline timeline = simulate(programs, durations);
    const auto longer = *rc::gen::inRange<std::int64_t>(1, 40);
    for (const Place at : critical_path(timeline)) {
        ActionDuration& duration = durations[at.stage][at.position];
        std::int64_t& part = is_transfer(action_at(programs, at)) ? duration.latency : duration.duration;
        part += longer;
        RC_ASSERT(simulate(programs, durations).makespan == timeline.makespan + longer);
        part -= longer;
    }
}

}  // namespace
}  // namespace smp::partition
