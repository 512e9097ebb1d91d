// If these fail, a wrong program crashes or hangs a rank instead of being named.
#include "runtime/execution/executor.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2.h"
#include "runtime/stage/initial_weights.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using partition::Action;
using partition::ActionKind;
using partition::BufferKind;
using partition::PipelineSchedule;
using partition::Programs;
using partition::RankProgram;
using ::testing::HasSubstr;

models::Model model() {
    models::Gpt2Options options;
    options.n_layer = 4;
    options.n_head = 2;
    options.n_embd = 8;
    options.n_positions = 6;
    options.vocab_size = 31;
    return models::gpt2(options);
}

struct Layout {
    int stages = 1;
    int chunks = 1;
    PipelineSchedule schedule = PipelineSchedule::interleaved;
};

constexpr int kMicrobatches = 3;

/// Runs the plan's training with the programs as `change` leaves them, by one thread a stage.
void run_changed(const Layout& layout, const std::function<void(Programs&)>& change) {
    partition::ParallelOptions parallel;
    parallel.pipeline_parallel_degree = layout.stages;
    parallel.virtual_pipeline_degree = layout.chunks;
    parallel.pipeline = layout.schedule;
    parallel.microbatches = kMicrobatches;
    const auto graph = models::module_graph(*model().spec, {.sequences = 1, .length = 6});
    const auto plan = partition::make_plan(graph, parallel, {.pp = layout.stages, .tp = 1, .rdp = 1}, 1);
    auto programs = plan.training;
    change(programs);
    testing::on_local_ranks(layout.stages, [&](comms::Communicator& world) {
        RankGroups groups = make_groups(plan, world);
        MemoryMeter meter;
        Stage stage(model(), plan, groups, meter, {}, at::kCPU);
        set_initial_weights(stage, *model().spec, {});
        StageExchange exchange(groups, stage, meter, programs[groups.at.stage()], /*sharded=*/false);
        Update update(groups, stage, {}, /*sharded=*/false, /*tokens=*/6 * kMicrobatches);
        Executor executor(plan, graph.shared,
                          {.stage = stage, .groups = groups, .meter = meter, .exchange = exchange, .update = update});
        std::vector<models::Microbatch> microbatches(kMicrobatches);
        for (auto& microbatch : microbatches) {
            microbatch.sequences = 1;
            microbatch.length = 6;
            microbatch.inputs = microbatch.targets = at::arange(6, at::kLong).view({1, 6});
        }
        const TrainingState state;
        executor.run({.program = programs[groups.at.stage()], .microbatches = microbatches, .state = &state});
    });
}

/// The reason for which the changed program is refused.
std::string refusal(const Layout& layout, const std::function<void(Programs&)>& change) {
    try {
        run_changed(layout, change);
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "nothing was refused";
}

auto find(RankProgram& program, const std::string& name) {
    const auto found = std::find_if(program.actions.begin(), program.actions.end(),
                                    [&](const Action& action) { return partition::name_of(action) == name; });
    if (found == program.actions.end()) throw std::runtime_error("the program has no " + name);
    return found;
}

void erase(RankProgram& program, const std::string& name) { program.actions.erase(find(program, name)); }
void repeat(RankProgram& program, const std::string& name) {
    const auto action = find(program, name);
    program.actions.insert(action + 1, Action(*action));
}

const Layout kChunks{.stages = 1, .chunks = 2};
const Layout kSplit{.stages = 1, .chunks = 1, .schedule = PipelineSchedule::zero_bubble};
const Layout kTwoStages{.stages = 2};

TEST(Executor, RunsThePlanUnchanged) {
    for (const Layout& layout : {kChunks, kSplit, kTwoStages}) run_changed(layout, [](auto&) {});
}

TEST(Executor, NamesTheActionThatUsesWhatIsNotThere) {
    EXPECT_THAT(refusal(kChunks, [](auto& programs) { erase(programs.front(), "F mb1 chunk0"); }),
                HasSubstr("executor: F mb1 chunk1 uses activation_in mb1 chunk1, which is not there"));
    EXPECT_THAT(refusal(kChunks, [](auto& programs) { erase(programs.front(), "F mb2 chunk1"); }),
                HasSubstr("executor: B mb2 chunk1 uses stash mb2 chunk1, which is not there"));
    EXPECT_THAT(refusal(kChunks, [](auto& programs) { erase(programs.front(), "B mb0 chunk1"); }),
                HasSubstr("executor: B mb0 chunk0 uses gradient_in mb0 chunk0, which is not there"));
    EXPECT_THAT(refusal(kSplit, [](auto& programs) { erase(programs.front(), "BI mb1 chunk0"); }),
                HasSubstr("executor: BW mb1 chunk0 uses deferred mb1 chunk0, which is not there"));
    EXPECT_THAT(refusal(kSplit,
                        [](auto& programs) {
                            auto& action = *find(programs.front(), "F mb0 chunk0");
                            action.frees.push_back(action.writes.back());
                        }),
                HasSubstr("executor: BI mb0 chunk0 uses stash mb0 chunk0, which is not there"));
    EXPECT_THAT(refusal(kTwoStages,
                        [](auto& programs) {
                            auto& action = *find(programs.front(), "F mb0 chunk0");
                            std::erase_if(action.writes, [&](partition::BufferId id) {
                                return programs.front().buffers[id].kind == BufferKind::activation_out;
                            });
                        }),
                HasSubstr("uses activation_out mb0 chunk0, which is not there"));
}

TEST(Executor, NamesTheActionThatIsDoneTwice) {
    EXPECT_THAT(refusal(kChunks, [](auto& programs) { repeat(programs.front(), "F mb0 chunk0"); }),
                HasSubstr("executor: F mb0 chunk0 writes activation_in mb0 chunk1, which is there already"));
    for (const char* backward : {"B mb0 chunk0", "B mb1 chunk1"})
        EXPECT_THAT(refusal(kChunks, [&](auto& programs) { repeat(programs.front(), backward); }),
                    HasSubstr(std::string("executor: ") + backward + " uses"));
    EXPECT_THAT(refusal(kSplit, [](auto& programs) { repeat(programs.front(), "BW mb0 chunk0"); }),
                HasSubstr("executor: BW mb0 chunk0 uses deferred mb0 chunk0, which is not there"));
}

TEST(Executor, NamesTheActionThatTakesWhatIsNotItsOwn) {
    EXPECT_THAT(refusal(kSplit,
                        [](auto& programs) {
                            auto &first = *find(programs.front(), "BI mb0 chunk0"),
                                 &second = *find(programs.front(), "BI mb1 chunk0");
                            first.consumes = second.consumes;
                        }),
                HasSubstr("executor: BI mb0 chunk0 uses stash mb1 chunk0"));
    EXPECT_THAT(refusal(kSplit,
                        [](auto& programs) {
                            auto& action = *find(programs.front(), "BI mb0 chunk0");
                            std::erase_if(action.writes, [&](partition::BufferId id) {
                                return programs.front().buffers[id].kind == BufferKind::deferred;
                            });
                        }),
                HasSubstr("executor: BI mb0 chunk0 does not write what its weight part needs"));
    EXPECT_THAT(refusal(kChunks,
                        [](auto& programs) {
                            find(programs.front(), "F mb0 chunk0")->microbatch = partition::MicrobatchId(7);
                        }),
                HasSubstr("is of no microbatch of 3"));
    EXPECT_THAT(refusal(kTwoStages,
                        [](auto& programs) { find(programs.back(), "F mb0 chunk1")->chunk = partition::ChunkId(0); }),
                HasSubstr("chunk 0 is not on this rank"));
    EXPECT_THAT(
        refusal(kChunks, [](auto& programs) { find(programs.front(), "F mb0 chunk0")->kind = ActionKind::prefetch; }),
        HasSubstr("executor: prefetch mb0 chunk0 is no copy that the plan has room for"));
}

// A message that nobody waits for is a mistake of its own, not one of whoever communicates next.
TEST(Executor, NamesTheMessageThatNobodyWaitsFor) {
    EXPECT_THAT(refusal(kTwoStages,
                        [](auto& programs) {
                            const partition::EventId event =
                                find(programs.front(), "send activations mb2 chunk0 -> stage 1")->signals;
                            for (Action& action : programs.front().actions) std::erase(action.waits, event);
                        }),
                HasSubstr("executor: send activations mb2 chunk0 -> stage 1 is waited for by nobody"));
    EXPECT_THAT(refusal(kTwoStages,
                        [](auto& programs) {
                            find(programs.front(), "send activations mb0 chunk0 -> stage 1")->signals =
                                partition::kNone;
                        }),
                HasSubstr("executor: send activations mb0 chunk0 -> stage 1 is waited for by nobody"));
    EXPECT_THAT(refusal(kTwoStages,
                        [](auto& programs) {
                            auto& actions = programs.front().actions;
                            actions.front().waits.push_back(partition::EventId(programs.front().events - 1));
                        }),
                HasSubstr("which is to come"));
    EXPECT_THAT(refusal(kTwoStages,
                        [](auto& programs) {
                            auto& program = programs.front();
                            find(program, "send activations mb1 chunk0 -> stage 1")->signals =
                                find(program, "send activations mb0 chunk0 -> stage 1")->signals;
                        }),
                HasSubstr("which send activations mb0 chunk0 -> stage 1 has signalled"));
}

}  // namespace
}  // namespace smp::runtime
