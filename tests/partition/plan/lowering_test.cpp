#include "partition/plan/lowering.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "partition/check/checker.h"
#include "partition/schedule/precedence.h"
#include "tests/partition/small_jobs.h"
#include "tests/partition/timeline.h"

namespace smp::partition {
namespace {

using testing::Costs;
using testing::Job;
using testing::makespan;
using testing::plan_of;

ComputeOrders compute_orders(const Programs& programs) {
    ComputeOrders orders(programs.size());
    for (const auto r : programs.ids()) {
        for (const Action& action : programs[r].actions) {
            if (const auto kind = facts_of(action.kind).computation)
                orders[r].push_back({*kind, action.microbatch, action.chunk});
        }
    }
    return orders;
}

int steps_between(const RankProgram& program, ActionId posted, EventId event) {
    int steps = 0;
    for (ActionId i = posted + 1; i < program.actions.end_id(); ++i) {
        const Action& action = program.actions[i];
        if (std::find(action.waits.begin(), action.waits.end(), event) != action.waits.end()) return steps;
        steps += action.stream == Stream::compute ? 1 : 0;
    }
    return -1;
}

template <typename Body>
void for_all_jobs(Body body) {
    for (int stages = 1; stages <= 6; ++stages) {
        for (int microbatches = 1; microbatches <= 12; ++microbatches) {
            body(Job{
                .stages = stages, .microbatches = microbatches, .schedule = PipelineSchedule::simple, .tied = true});
            for (int active = 1; active <= microbatches; ++active)
                body(Job{.stages = stages, .microbatches = microbatches, .active = active, .tied = true});
        }
    }
}

/// The schedules with chunks and with a split backward.
template <typename Body>
void for_all_later_jobs(Body body) {
    for (int stages = 1; stages <= 4; ++stages) {
        for (int microbatches = 1; microbatches <= 12; ++microbatches) {
            for (int active = 1; active <= microbatches; ++active) {
                Job job{.stages = stages, .microbatches = microbatches, .active = active, .tied = true};
                job.schedule = PipelineSchedule::zero_bubble;
                body(job);
                if (active < std::min(microbatches, 2 * stages)) continue;
                job.schedule = PipelineSchedule::interleaved;
                for (job.chunks_per_stage = 2; job.chunks_per_stage <= 3; ++job.chunks_per_stage) body(job);
            }
        }
    }
}

std::string text_of(const Job& job) {
    return fmt::format("{} stages of {} chunks, {} microbatches, K {}, {}", job.stages, job.chunks_per_stage,
                       job.microbatches, job.active.value_or(0), word_of(job.schedule));
}

// Sends, receives, their waits and bounded buffers must cost no time: programs are as fast as their bare compute orders
// over links that never hold a message up.
TEST(Lowering, AddsNoStallToTheComputeOrder) {
    const auto adds_none = [](const Job& job) {
        const Plan plan = plan_of(job);
        for (const Costs& costs :
             {Costs{.forward = 1, .backward = 2}, Costs{.forward = 10, .backward = 20, .latency = 5},
              Costs{.forward = 10, .backward = 13, .latency = 14}}) {
            ASSERT_EQ(makespan(plan.training, costs), makespan(compute_orders(plan.training), costs))
                << text_of(job) << ", latency " << costs.latency;
        }
    };
    for_all_jobs(adds_none);
    for_all_later_jobs(adds_none);
}

TEST(Lowering, KeepsTheComputeOrder) {
    for_all_jobs([](const Job& job) {
        const Plan plan = plan_of(job);
        const ComputeOrders wanted = job.schedule == PipelineSchedule::simple
                                         ? simple_orders(job.stages, job.microbatches)
                                         : interleaved_orders(job.stages, job.microbatches, *job.active);
        ASSERT_EQ(compute_orders(plan.training), wanted);
    });
    for_all_later_jobs([](const Job& job) {
        const Plan plan = plan_of(job);
        const ComputeOrders wanted =
            job.schedule == PipelineSchedule::zero_bubble
                ? zero_bubble_orders(job.stages, job.microbatches, *job.active,
                                     computation_costs(testing::chain(job.stages + 1, true), plan.chunks))
                : chunked_orders(job.stages, job.chunks_per_stage, job.microbatches, *job.active);
        ASSERT_EQ(compute_orders(plan.training), wanted) << text_of(job);
    });
}

// Gradients of a chunk are reduced while other chunks' backwards still run.
TEST(Lowering, ReducesAChunkRightBehindItsLastBackward) {
    for_all_later_jobs([](const Job& job) {
        const Plan plan = plan_of(job);
        for (const RankProgram& program : plan.training) {
            const auto& actions = program.actions;
            for (const auto i : actions.ids()) {
                if (actions[i].kind != ActionKind::reduce_gradients) continue;
                const ChunkId chunk = actions[i].chunk;
                const bool is_tied = chunk == ChunkId(0) || chunk == plan.chunks.last_id();
                const ActionKind last = is_tied                                         ? ActionKind::sum_tied_gradients
                                        : job.schedule == PipelineSchedule::zero_bubble ? ActionKind::backward_weight
                                                                                        : ActionKind::backward;
                ActionId before = i - 1;
                while (actions[before].stream != Stream::compute) before = before - 1;
                ASSERT_EQ(actions[before].kind, last) << text_of(job);
                if (!is_tied) {
                    ASSERT_EQ(actions[before].chunk, chunk);
                }
            }
        }
    });
}

/// The plans of all schedules with checkpointing, two or three layers a chunk.
template <typename Body>
void for_all_checkpointed_plans(Body body) {
    for_all_later_jobs([&](const Job& job) {
        if (job.stages > 3 || job.microbatches > 8) return;
        for (const char* word : {"each", "contiguous", "group_2"}) {
            ParallelOptions options = testing::options_of(job);
            options.activation_checkpointing = word;
            const auto graph = testing::chain(3 * chunk_count(options) - 1, true);
            SCOPED_TRACE(text_of(job) + ", " + word);
            body(graph, make_plan(graph, options, {.pp = job.stages}, 1));
        }
    });
}

TEST(Lowering, CheckpointsGroupsOfLayersAndTheHeadAlone) {
    ParallelOptions options = testing::options_by_hand({5, 3}, 2);
    const auto groups_with = [&](const std::string& word) {
        options.activation_checkpointing = word;
        const auto chunks = assign_stages(testing::chain(8, true), options);
        return std::pair(chunks[ChunkId(0)].groups, chunks[ChunkId(1)].groups);
    };
    using Groups = std::pair<Table<GroupId, int>, Table<GroupId, int>>;
    // Modules: 0 embedding, 1 … 5 | 6 … 8 layers, 9 head.
    EXPECT_EQ(groups_with("none"), (Groups{{}, {}}));
    EXPECT_EQ(groups_with("each"), (Groups{{0, 2, 3, 4, 5}, {6, 7, 8, 9}}));
    EXPECT_EQ(groups_with("contiguous"), (Groups{{0}, {6, 9}}));
    EXPECT_EQ(groups_with("group_2"), (Groups{{0, 3, 5}, {6, 8, 9}}));
    EXPECT_EQ(groups_with("group_3"), (Groups{{0, 4}, {6, 9}}));
}

// Alive are the checkpoints of what is in flight and nothing else, and one recomputed group.
TEST(Lowering, KeepsOneCheckpointAGroupAndRecomputesOneGroupAtATime) {
    for_all_checkpointed_plans([](const ModuleGraph& graph, const Plan& plan) {
        EXPECT_THAT(check(plan), ::testing::IsEmpty());
        for (const RankProgram& program : plan.training) {
            std::map<ChunkId, int> in_flight;
            std::int64_t checkpoints = 0;
            int stashes = 0;
            for (const Action& action : program.actions) {
                if (action.kind == ActionKind::forward) in_flight[action.chunk] += action.group == GroupId(0) ? 1 : 0;
                for (const BufferId id : action.writes) {
                    const Buffer& buffer = program.buffers[id];
                    if (buffer.kind == BufferKind::checkpoint) checkpoints += buffer.bytes;
                    if (buffer.kind == BufferKind::stash) ++stashes;
                }
                ASSERT_LE(stashes, 1) << name_of(action);
                for (const BufferId id : action.frees) {
                    const Buffer& buffer = program.buffers[id];
                    if (buffer.kind == BufferKind::checkpoint) checkpoints -= buffer.bytes;
                }
                for (const BufferId id : action.consumes)
                    if (program.buffers[id].kind == BufferKind::stash) --stashes;
                const bool is_backward =
                    action.kind == ActionKind::backward || action.kind == ActionKind::backward_input;
                if (is_backward && action.group == GroupId(0)) --in_flight[action.chunk];
                const auto& groups = plan.chunks[std::max(ChunkId(0), action.chunk)].groups;
                const bool is_between_steps = action.kind == ActionKind::forward
                                                  ? action.group == groups.last_id()
                                                  : is_backward && action.group == GroupId(0);
                if (!is_between_steps) continue;
                std::int64_t expected = 0;
                for (const auto& [chunk, microbatches] : in_flight) {
                    const auto& of_chunk = plan.chunks[chunk].groups;
                    for (const GroupId g : of_chunk.ids())
                        if (g != GroupId(0)) expected += microbatches * graph.modules[of_chunk[g] - 1].output_bytes;
                }
                ASSERT_EQ(checkpoints, expected) << name_of(action);
            }
            EXPECT_EQ(checkpoints, 0);
        }
    });
}

// What is further from its backward than the horizon leaves, what is nearer stays; nothing comes back too early.
TEST(Lowering, OffloadsWhatIsNotNeededWithinTheHorizon) {
    int copies = 0;
    for_all_later_jobs([&](const Job& job) {
        if (job.stages > 3 || job.microbatches > 8) return;
        for (const char* word : {"each", "contiguous", "group_2"}) {
            for (const int horizon : {1, 2, 4, 64}) {
                ParallelOptions options = testing::options_of(job);
                options.activation_checkpointing = word;
                options.offload_activations = true;
                options.activation_loading_horizon = horizon;
                const auto graph = testing::chain(3 * chunk_count(options) - 1, true);
                SCOPED_TRACE(fmt::format("{}, {}, horizon {}", text_of(job), word, horizon));
                const Plan plan = make_plan(graph, options, {.pp = job.stages}, 1);
                ASSERT_THAT(check(plan), ::testing::IsEmpty());
                for (const RankProgram& program : plan.training) {
                    using Key = std::tuple<MicrobatchId, ChunkId, GroupId>;
                    std::map<Key, int> forward, backward, fetched;
                    std::set<Key> left;
                    int task = 0, on_device = 0;
                    for (const Action& action : program.actions) {
                        const Key key{action.microbatch, action.chunk, action.group};
                        switch (action.kind) {
                            case ActionKind::offload: left.insert(key); break;
                            case ActionKind::prefetch:
                                fetched[key] = task;
                                EXPECT_LE(++on_device, horizon + 1);
                                break;
                            case ActionKind::forward: forward[key] = task++; break;
                            case ActionKind::backward:
                            case ActionKind::backward_input:
                                on_device -= fetched.contains(key) ? 1 : 0;
                                backward[key] = task++;
                                break;
                            case ActionKind::backward_weight: ++task; break;
                            default: break;
                        }
                    }
                    for (const auto& [key, at] : backward) {
                        const bool has_input = std::get<1>(key) > ChunkId(0) || std::get<2>(key) > GroupId(0);
                        EXPECT_EQ(left.contains(key), has_input && at - forward[key] > horizon + 1);
                        EXPECT_EQ(left.contains(key), fetched.contains(key));
                        if (fetched.contains(key)) {
                            EXPECT_EQ(at - fetched[key], horizon);
                        }
                    }
                    copies += static_cast<int>(left.size());
                }
            }
        }
    });
    EXPECT_GT(copies, 1000);
}

TEST(Lowering, LongerWarmUpHidesASlowLink) {
    const Costs slow_link{.forward = 10, .backward = 20, .latency = 5};
    for (int p = 2; p <= 6; ++p) {
        const Plan tight = plan_of({.stages = p, .microbatches = 12, .active = p});
        const Plan ample = plan_of({.stages = p, .microbatches = 12, .active = p + 2});
        EXPECT_LT(makespan(ample.training, slow_link), makespan(tight.training, slow_link)) << p;
    }
}

// In the middle of a step a receive is under way while the step before its use runs; only where a message cannot exist
// any earlier is it posted right before its use.
TEST(Lowering, PostsReceivesAsEarlyAsTheMessageCanExist) {
    for_all_jobs([](const Job& job) {
        const Plan plan = plan_of(job);
        const ComputeOrders orders = compute_orders(plan.training);
        const Precedence precedence(orders, in_turn(job.stages), job.microbatches);
        for (const StageId r : plan.training.ids()) {
            const RankProgram& program = plan.training[r];
            for (const auto i : program.actions.ids()) {
                const Action& action = program.actions[i];
                if (action.kind != ActionKind::receive || action.channel == Channel::tied) continue;
                const ComputationKind kind =
                    action.channel == Channel::activations ? ComputationKind::forward : ComputationKind::backward;
                const int made = precedence.position_of(kind, action.microbatch, ChunkId(action.peer.number()));
                const int used = precedence.position_of(kind, action.microbatch, ChunkId(r.number()));
                const bool room_for_one = used - precedence.ended_before(action.peer, made, r) >= 1;
                ASSERT_EQ(steps_between(program, i, action.signals) >= 1, room_for_one)
                    << name_of(action) << " on stage " << r;
            }
        }
    });
}

// What a receive may cost: a stage never holds more boundary inputs than the stage before it has microbatches in
// flight, and never more than three incoming gradients.
TEST(Lowering, BoundsReceivedBuffers) {
    for_all_jobs([](const Job& job) {
        const Plan plan = plan_of(job);
        for (const StageId r : plan.training.ids()) {
            const RankProgram& program = plan.training[r];
            std::map<BufferKind, int> live, peak;
            for (const Action& action : program.actions) {
                if (action.kind == ActionKind::receive) {
                    const BufferKind kind = program.buffers[action.writes.at(0)].kind;
                    peak[kind] = std::max(peak[kind], ++live[kind]);
                }
                for (const auto* list : {&action.frees, &action.consumes})
                    for (const BufferId gone : *list) --live[program.buffers[gone].kind];
            }
            const int before = job.schedule == PipelineSchedule::simple
                                   ? job.microbatches
                                   : in_flight_limit(std::max(r - 1, StageId(0)), job.stages, *job.active);
            EXPECT_LE(peak[BufferKind::activation_in], before);
            EXPECT_LE(peak[BufferKind::gradient_in],
                      job.schedule == PipelineSchedule::simple || plan.active_microbatches > job.stages ? 3 : 2);
        }
    });
}

TEST(Lowering, LastStageSendsItsTiedGradientBeforeTheCoolDownEnds) {
    const Plan plan = plan_of({.stages = 4, .microbatches = 6, .active = 4, .tied = true});
    const auto& last = plan.training.back().actions;
    const auto is_tied_send = [](const Action& a) { return a.kind == ActionKind::send && a.channel == Channel::tied; };
    const auto sent = std::find_if(last.begin(), last.end(), is_tied_send);
    ASSERT_NE(sent, last.end());
    // Right behind its own last backward: only the transfers of that step lie between.
    const auto previous = std::find_if(std::make_reverse_iterator(sent), last.rend(),
                                       [](const Action& a) { return a.stream == Stream::compute; });
    EXPECT_EQ(name_of(*previous), "B mb5 chunk3");

    // The first stage has its receive out while its last backward still runs.
    const auto& first = plan.training.front().actions;
    const auto receive = std::find_if(first.begin(), first.end(), [](const Action& a) {
        return a.kind == ActionKind::receive && a.channel == Channel::tied;
    });
    const auto backward =
        std::find_if(first.begin(), first.end(), [](const Action& a) { return name_of(a) == "B mb5 chunk0"; });
    ASSERT_NE(receive, first.end());
    EXPECT_LT(receive, backward);
    // Stages in between have no copy.
    for (const int middle : {1, 2}) {
        for (const Action& action : plan.training[StageId(middle)].actions)
            EXPECT_NE(action.kind, ActionKind::sum_tied_gradients);
    }
}

TEST(Lowering, EveryCopyAddsTheSameGradientsInTheSameOrder) {
    // Three copies: two on the first stage, one on the last.
    ModuleGraph graph = testing::chain(4, false);
    graph.shared.push_back({.name = "three", .parameter_count = 7, .modules = {0, 1, 5}});
    graph.shared.push_back({.name = "local", .parameter_count = 9, .modules = {0, 1}});
    const Plan plan = make_plan(graph, testing::options_by_hand({2, 1, 1}, 3), {.pp = 3}, 1);
    Table<StageId, std::vector<std::pair<int, int>>> added(3);  // (shared, module)
    for (const StageId stage : added.ids()) {
        for (const Action& action : plan.training[stage].actions) {
            if (action.kind != ActionKind::sum_tied_gradients) continue;
            for (const BufferId b : action.reads) {
                const Buffer& buffer = plan.training[stage].buffers[b];
                if (buffer.shared >= 0) added[stage].push_back({buffer.shared, buffer.module});
            }
        }
    }
    using Pairs = std::vector<std::pair<int, int>>;
    EXPECT_EQ(added[StageId(0)], (Pairs{{0, 0}, {0, 1}, {0, 5}, {1, 0}, {1, 1}}));
    EXPECT_EQ(added[StageId(1)], (Pairs{}));
    EXPECT_EQ(added[StageId(2)], (Pairs{{0, 0}, {0, 1}, {0, 5}}));
}

TEST(Lowering, TakesBytesFromTheGraph) {
    ModuleGraph graph = testing::chain(3, true);
    for (Module& module : graph.modules) module.padding_elements = 11;
    const testing::Job job{.stages = 2, .microbatches = 2, .tied = true};
    for (const int turn : {0, 1, 2, 3}) {
        const StageId stage(turn % 2);
        graph.precision = turn < 2 ? Precision::fp32 : Precision::bf16;
        const Plan plan = make_plan(graph, testing::options_of(job), {.pp = 2, .tp = 1, .rdp = 2}, 1);
        const Chunk& chunk = plan.chunks[ChunkId(stage.number())];
        std::int64_t stash = 0, parameters = 0;
        for (int m = chunk.first_module; m < chunk.end_module; ++m) {
            stash += graph.modules[m].stash_bytes;
            if (m > chunk.first_module) stash += graph.modules[m - 1].output_bytes;
            parameters += graph.modules[m].parameter_count + 11;
        }
        // Each of the two data-parallel ranks owns a multiple of 256 bytes of values.
        const std::int64_t multiple = 2 * 256 / (turn < 2 ? 4 : 2);
        parameters = (parameters + multiple - 1) / multiple * multiple;
        const std::int64_t boundary = graph.modules[plan.chunks[ChunkId(0)].end_module - 1].output_bytes;
        for (const Buffer& buffer : plan.training[stage].buffers) {
            switch (buffer.kind) {
                case BufferKind::stash: EXPECT_EQ(buffer.bytes, stash); break;
                case BufferKind::logits:
                    EXPECT_EQ(buffer.bytes, graph.modules[chunk.end_module - 1].logits_bytes);
                    break;
                case BufferKind::checkpoint:
                case BufferKind::checkpoint_gradient:
                case BufferKind::offloaded:
                case BufferKind::prefetched:
                case BufferKind::deferred: ADD_FAILURE() << "nothing is split here"; break;
                case BufferKind::gradients: EXPECT_EQ(buffer.bytes, 4 * parameters); break;
                case BufferKind::parameters: EXPECT_EQ(buffer.bytes, (turn < 2 ? 4 : 2) * parameters); break;
                case BufferKind::tied_gradient:
                case BufferKind::tied_received: EXPECT_EQ(buffer.bytes, 4 * 290); break;
                case BufferKind::scratch: break;  // of passes: memory_peaks_test
                default: EXPECT_EQ(buffer.bytes, boundary);
            }
        }
    }
}

// Two chunks on one stage hand their tensors over without a message.
TEST(Lowering, HandsOverBetweenChunksOfOneStage) {
    const ModuleGraph graph = testing::chain(4, false);
    const Chunks chunks = {{StageId(0), 0, 3}, {StageId(0), 3, 6}};
    const ComputeOrders orders = {{{ComputationKind::forward, MicrobatchId(0), ChunkId(0)},
                                   {ComputationKind::forward, MicrobatchId(0), ChunkId(1)},
                                   {ComputationKind::backward, MicrobatchId(0), ChunkId(1)},
                                   {ComputationKind::backward, MicrobatchId(0), ChunkId(0)}}};
    const Programs programs = lower(graph, chunks, flat_sections(graph, chunks, 1), orders, 1, {});
    ASSERT_EQ(programs.size(), 1u);
    const RankProgram& program = programs[StageId(0)];
    EXPECT_EQ(program.actions.size(), 7u);  // with two reductions and the update
    EXPECT_EQ(program.actions[ActionId(0)].writes.back(), program.actions[ActionId(1)].reads.back());
    EXPECT_EQ(name_of(program.buffers[program.actions[ActionId(0)].writes.back()]), "activation_in mb0 chunk1");
    EXPECT_EQ(name_of(program.buffers[program.actions[ActionId(2)].writes.back()]), "gradient_in mb0 chunk0");
}

TEST(Lowering, RefusesOrdersThatCannotRun) {
    const ModuleGraph graph = testing::chain(2, false);
    const Chunks chunks = {{StageId(0), 0, 2}, {StageId(1), 2, 4}};
    ComputeOrders orders = simple_orders(2, 2);
    std::swap(orders[StageId(1)][0], orders[StageId(1)][2]);  // a backward before its forward
    EXPECT_THROW(lower(graph, chunks, flat_sections(graph, chunks, 1), orders, 2, {}), std::logic_error);
    orders = simple_orders(2, 2);
    orders[StageId(0)].push_back(orders[StageId(0)].back());
    EXPECT_THROW(lower(graph, chunks, flat_sections(graph, chunks, 1), orders, 2, {}), std::logic_error);
}

}  // namespace
}  // namespace smp::partition
