// Promise 1: what does not change the arithmetic does not change a bit. Records are compared as text, which is equal
// only if all bits are.
#include <future>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/pairwise.h"
#include "tests/runtime/small_training_job.h"

namespace smp {
namespace {

using testing::on_local_ranks;

class SameNumbers : public ::testing::Test {
  protected:
    runtime::Job job() const {
        runtime::Job job = testing::small_training_job(folder_);
        job.training.gradient_clip_norm = 0.3;
        job.training.evaluate_every = 2;
        job.training.evaluation_batches = 2;
        job.data.validation_fraction = 0.2;
        return job;
    }

    /// What the promise covers of a run, as text.
    static std::string run(const runtime::Job& job, int rdp, int threads = 1) {
        const int ranks = job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
        std::string text;
        on_local_ranks(
            ranks,
            [&](comms::Communicator& world) {
                runtime::Trainer trainer(job, world);
                while (trainer.steps_done() < job.training.steps) {
                    auto record = trainer.step();
                    if (record.step % job.training.evaluate_every == 0) record.validation_loss = trainer.evaluate();
                    if (world.rank() == 0) text += runtime::to_json_line(runtime::without_measurements(record)) + "\n";
                }
                EXPECT_LE(trainer.peak_active_microbatches(), trainer.plan().active_microbatches);
            },
            threads);
        return text;
    }

    testing::ScratchFolder folder_;
    at::Tensor values_[2];  // without and with sharding
};

/// Tensor ranks, replicas, whether the embedding is tied, dropout, whether rows are sharded over tensor ranks: what may
/// change the numbers. All else may not.
using Arithmetic = std::tuple<int, int, bool, double, partition::Optimize>;
constexpr auto kSpeed = partition::Optimize::speed, kMemory = partition::Optimize::memory;

std::string name_of_arithmetic(const ::testing::TestParamInfo<Arithmetic>& info) {
    const auto [tp, rdp, tied, dropout, optimize] = info.param;
    return fmt::format("tp{}_rdp{}_{}{}{}", tp, rdp, tied ? "tied" : "untied", dropout > 0 ? "_dropout" : "",
                       optimize == kMemory ? "_for_memory" : "");
}

class SameNumbersInEveryLayout : public SameNumbers, public ::testing::WithParamInterface<Arithmetic> {};

TEST_P(SameNumbersInEveryLayout, PipelineScheduleBoundAndThreadsDoNotShow) {
    using partition::PipelineSchedule;
    const auto [tp, replicas, tied, dropout, optimize] = GetParam();
    const int rdp = replicas;  // clang 14 captures no structured bindings
    runtime::Job job = this->job();
    testing::change_model(job, [tied = tied, dropout = dropout](auto& model) {
        model.n_layer = 12;
        model.n_embd = 16;
        model.n_positions = 12;
        model.tie_word_embeddings = tied;
        model.embd_pdrop = model.resid_pdrop = model.attn_pdrop = dropout;
    });
    job.training.sequence_length = 12;
    job.training.steps = job.training.evaluate_every = 2;
    job.training.evaluation_batches = 1;
    job.parallel.tensor_parallel_degree = tp;
    job.parallel.optimize = optimize;
    const int m = job.parallel.microbatches = rdp == 3 ? 4 : 6;
    const std::string expected = run(job, rdp);
    ASSERT_NE(expected.find("validation_loss"), std::string::npos);
    EXPECT_EQ(run(job, rdp, /*threads=*/2), expected) << "two threads";

    const std::string checkpointing[] = {"none", "each", "contiguous", "group_2", "group_3", "selective"};
    std::size_t turn = 0;
    const auto expect_same = [&](int pp, PipelineSchedule schedule, int chunks, int bound) {
        job.parallel.pipeline_parallel_degree = pp;
        job.parallel.pipeline = schedule;
        job.parallel.virtual_pipeline_degree = chunks;
        job.parallel.active_microbatches = bound;
        // In turns.
        job.parallel.shard_optimizer_state = !job.parallel.shard_optimizer_state;
        job.parallel.activation_checkpointing = checkpointing[turn++ % std::size(checkpointing)];
        EXPECT_EQ(run(job, rdp), expected)
            << partition::word_of(schedule) << ", pp " << pp << ", " << chunks << " chunks a stage, K " << bound
            << (job.parallel.shard_optimizer_state ? ", sharded optimizer states, " : ", ")
            << job.parallel.activation_checkpointing;
    };
    for (const int pp : {1, 2, 4}) {
        expect_same(pp, PipelineSchedule::simple, 1, m);
        for (const int bound : {1, 3, m}) {
            expect_same(pp, PipelineSchedule::interleaved, 1, bound);
            expect_same(pp, PipelineSchedule::zero_bubble, 1, bound);
        }
        for (const int chunks : {2, 3})
            for (const int bound : std::set{std::min(m, 2 * pp), m})
                expect_same(pp, PipelineSchedule::interleaved, chunks, bound);
    }
}

INSTANTIATE_TEST_SUITE_P(Arithmetic, SameNumbersInEveryLayout,
                         ::testing::Combine(::testing::Values(1), ::testing::Values(1, 2, 3), ::testing::Bool(),
                                            ::testing::Values(0.0, 0.1), ::testing::Values(kSpeed)),
                         name_of_arithmetic);
INSTANTIATE_TEST_SUITE_P(TensorParallel, SameNumbersInEveryLayout,
                         ::testing::Combine(::testing::Values(2), ::testing::Values(1), ::testing::Bool(),
                                            ::testing::Values(0.0, 0.1), ::testing::Values(kSpeed)),
                         name_of_arithmetic);
INSTANTIATE_TEST_SUITE_P(SequenceParallel, SameNumbersInEveryLayout,
                         ::testing::Values(Arithmetic{2, 1, true, 0.1, kMemory}, Arithmetic{2, 1, false, 0, kMemory},
                                           Arithmetic{2, 2, true, 0.1, kMemory}),
                         name_of_arithmetic);

/// Tensor ranks, whether rows are sharded over them, steps.
using Sharding = std::tuple<int, partition::Optimize, int>;

class WhatSavesMemory : public SameNumbers, public ::testing::WithParamInterface<Sharding> {};

/// Every two of these settings in all pairs of their values.
TEST_P(WhatSavesMemory, DoesNotShow) {
    using partition::PipelineSchedule;
    const auto [tp, optimize, steps] = GetParam();
    runtime::Job job = this->job();
    testing::change_model(job, [&](auto& model) {
        model.n_layer = 12;
        model.n_embd = 16;
        model.n_positions = 12;
    });
    job.training.sequence_length = 12;
    testing::change_model(job, [&](auto& model) { model.embd_pdrop = model.resid_pdrop = model.attn_pdrop = 0.1; });
    job.training.steps = steps;
    job.training.evaluate_every = steps / 2;
    job.training.evaluation_batches = 1;
    job.parallel.tensor_parallel_degree = tp;
    job.parallel.optimize = optimize;
    const int m = job.parallel.microbatches = 6;
    const std::string expected = run(job, 2);

    const std::string checkpointing[] = {"none", "each", "contiguous", "group_2", "group_3", "selective"};
    const int horizons[] = {0, 1, 4, 64};  // 0: nothing is offloaded
    struct Schedule {
        PipelineSchedule order;
        int chunks, least_bound;
    };
    const Schedule schedules[] = {{PipelineSchedule::simple, 1, m},
                                  {PipelineSchedule::interleaved, 1, 2},
                                  {PipelineSchedule::interleaved, 3, 4},
                                  {PipelineSchedule::zero_bubble, 1, 2}};
    const auto rows = testing::pairwise({2, 6, 4, 4, 2});
    EXPECT_GE(rows.size(), 24u);  // six times four
    for (const auto& row : rows) {
        auto& parallel = job.parallel;
        const auto& schedule = schedules[row[3]];
        parallel.pipeline_parallel_degree = 2;
        parallel.shard_optimizer_state = row[0] == 1;
        parallel.activation_checkpointing = checkpointing[row[1]];
        parallel.offload_activations = horizons[row[2]] > 0;
        parallel.activation_loading_horizon = std::max(1, horizons[row[2]]);
        parallel.pipeline = schedule.order;
        parallel.virtual_pipeline_degree = schedule.chunks;
        parallel.active_microbatches = row[4] == 0 ? schedule.least_bound : m;
        ASSERT_EQ(run(job, 2), expected) << word_of(parallel.pipeline) << ", " << schedule.chunks
                                         << " chunks a stage, K " << *parallel.active_microbatches << ", "
                                         << parallel.activation_checkpointing << ", horizon " << horizons[row[2]]
                                         << (parallel.shard_optimizer_state ? ", sharded optimizer states" : "");
    }
}

INSTANTIATE_TEST_SUITE_P(Whole, WhatSavesMemory, ::testing::Values(Sharding{1, kSpeed, 20}));
INSTANTIATE_TEST_SUITE_P(SequenceParallel, WhatSavesMemory, ::testing::Values(Sharding{2, kMemory, 4}));

TEST_F(SameNumbers, TensorParallelSeedKeysAttentionDropoutAlone) {
    runtime::Job job = this->job();
    testing::change_model(job, [&](auto& model) { model.attn_pdrop = 0.1; });
    const std::string expected = run(job, 1);
    job.parallel.tensor_parallel_seed = 5;
    EXPECT_NE(run(job, 1), expected);
    testing::change_model(job, [&](auto& model) {
        model.attn_pdrop = 0;
        model.resid_pdrop = 0.1;
    });
    const std::string without = run(job, 1);
    job.parallel.tensor_parallel_seed = 0;
    EXPECT_EQ(run(job, 1), without);
}

/// ZeRO-1: two fp32 moments of each parameter once, on the rank that owns it.
TEST_F(SameNumbers, ShardedOptimizerStatesTakeTheirShareOfMemory) {
    for (const int rdp : {1, 2, 3}) {
        for (const int pp : {1, 2}) {
            runtime::Job job = this->job();
            job.parallel.pipeline_parallel_degree = job.parallel.virtual_pipeline_degree = pp;
            std::vector<std::int64_t> bytes[2];
            for (const bool sharded : {false, true}) {
                job.parallel.shard_optimizer_state = sharded;
                bytes[sharded].resize(static_cast<std::size_t>(pp * rdp));
                on_local_ranks(pp * rdp, [&](comms::Communicator& world) {
                    runtime::Trainer trainer(job, world);
                    trainer.step();
                    bytes[sharded][static_cast<std::size_t>(world.rank())] = trainer.optimizer_bytes();
                    // Whoever asks for values gets those that the last step made, whole.
                    const auto value = trainer.gather_value("h.0.mlp.c_fc.weight");
                    if (world.rank() == 0) values_[sharded] = value;
                });
            }
            for (std::size_t rank = 0; rank < bytes[0].size(); ++rank) EXPECT_EQ(bytes[1][rank] * rdp, bytes[0][rank]);
            EXPECT_TRUE(values_[0].equal(values_[1]));
        }
    }
}

/// Small enough for the thread sanitizer, with every kind of communication at once.
TEST_F(SameNumbers, EightThreadsAsRanks) {
    runtime::Job job = this->job();
    job.training.steps = 2;
    testing::change_model(job, [&](auto& model) { model.embd_pdrop = model.resid_pdrop = model.attn_pdrop = 0.1; });
    job.parallel.tensor_parallel_degree = 2;
    job.parallel.activation_loading_horizon = 1;
    for (const auto optimize : {kSpeed, kMemory}) {
        job.parallel.optimize = optimize;
        job.parallel.pipeline_parallel_degree = 1;
        job.parallel.shard_optimizer_state = job.parallel.offload_activations = false;
        job.parallel.activation_checkpointing = "none";
        const std::string expected = run(job, 2);
        job.parallel.pipeline_parallel_degree = 2;
        job.parallel.shard_optimizer_state = job.parallel.offload_activations = true;
        job.parallel.activation_checkpointing = "each";
        EXPECT_EQ(run(job, 2), expected) << word_of(optimize);
    }
}

/// The first gradient is under way for as long as the first stage has anything else to do: with a bound of p it has
/// computed two microbatches by then, with the longer warm-up of K = p + 2 three, so that much more latency is hidden.
/// It waits for nothing before it must (else both sides would wait here), and the numbers are the same.
TEST_F(SameNumbers, ALargerBoundHasMoreToDoWhileGradientsAreUnderWay) {
    runtime::Job job = this->job();
    job.parallel.microbatches = 12;
    job.parallel.pipeline_parallel_degree = 2;
    const auto first_step = [&](int bound) {
        job.parallel.active_microbatches = bound;
        std::promise<void> first_stage_needs_it;
        auto is_needed = first_stage_needs_it.get_future();
        std::pair<double, int> loss_and_forwards;
        on_local_ranks(2, [&](comms::Communicator& world) {
            bool is_over = false;  // what this is about, on this rank
            int forwards = 0;
            const auto before = [&](const partition::Action& action) {
                using enum partition::ActionKind;
                if (is_over) return;
                if (world.rank() == 0) {
                    if (action.kind == forward) ++forwards;
                    if ((is_over = action.kind == backward)) first_stage_needs_it.set_value();
                } else if ((is_over = action.kind == send)) {
                    EXPECT_EQ(is_needed.wait_for(std::chrono::minutes(1)), std::future_status::ready);
                }
            };
            runtime::Trainer trainer(job, world, {.plan = {}, .executor = {.before_action = before, .copies = {}}});
            const auto record = trainer.step();
            if (world.rank() == 0) loss_and_forwards = {record.loss, forwards};
        });
        return loss_and_forwards;
    };
    const auto [loss, forwards] = first_step(2);
    const auto [loss_above, forwards_above] = first_step(4);
    EXPECT_EQ(forwards, 2);
    EXPECT_EQ(forwards_above, 3);
    EXPECT_EQ(loss_above, loss);
}

/// Before the first update nothing has been added in another order: the loss is that of tensor parallelism for speed.
/// After it only LayerNorms' gradients, and so the gradient norm, may show. In every precision: 16-bit pieces are added
/// in fp32 and rounded once either way.
TEST_F(SameNumbers, SequenceParallelForwardsAreThoseOfTensorParallelism) {
    for (const auto& [degree, is_bf16] : {std::pair{2, false}, {4, false}, {2, true}}) {
        const int tp = degree;  // clang 14 captures no structured bindings
        runtime::Job job = this->job();
        testing::change_model(job, [&](auto& model) { model.attn_pdrop = model.resid_pdrop = model.embd_pdrop = 0.1; });
        job.parallel.tensor_parallel_degree = tp;
        job.parallel.bf16 = is_bf16;
        const auto first_step = [&](partition::Optimize optimize) {
            job.parallel.optimize = optimize;
            runtime::StepRecord first;
            double before = 0;
            on_local_ranks(tp, [&](comms::Communicator& world) {
                runtime::Trainer trainer(job, world);
                const double validation = trainer.evaluate();
                const auto record = trainer.step();
                if (world.rank() == 0) first = record, before = validation;
            });
            return std::tuple(before, first.loss, first.grad_norm);
        };
        const auto [speed_validation, speed_loss, speed_norm] = first_step(kSpeed);
        const auto [validation, loss, norm] = first_step(kMemory);
        EXPECT_EQ(validation, speed_validation);
        EXPECT_EQ(loss, speed_loss);
        EXPECT_NEAR(norm, speed_norm, 1e-6 * speed_norm);  // each gradient rounded to fp32 some ten times
    }
}

TEST_F(SameNumbers, SixteenBitsKeepThePromiseToo) {
    using partition::PipelineSchedule;
    struct Ranks {
        int tp, rdp;
        partition::Optimize optimize;
    };
    struct Layout {
        int pp, chunks, bound;
        PipelineSchedule schedule;
        const char* checkpointing;
        int horizon;  // 0: nothing is offloaded
    };
    std::set<std::string> texts;
    for (const bool is_fp16 : {false, true}) {
        for (const auto& [tp, rdp, optimize] : {Ranks{1, 2, kSpeed}, Ranks{2, 1, kSpeed}, Ranks{2, 1, kMemory}}) {
            runtime::Job job = this->job();
            testing::change_model(job,
                                  [&](auto& model) { model.embd_pdrop = model.resid_pdrop = model.attn_pdrop = 0.1; });
            job.parallel.fp16 = is_fp16;
            job.parallel.bf16 = !is_fp16;
            job.parallel.tensor_parallel_degree = tp;
            job.parallel.optimize = optimize;
            // Overflows in the first steps, so that both kinds of step are compared.
            if (is_fp16) job.training.loss_scale = {{.initial = std::int64_t{1} << 25, .hysteresis = 1}};
            const std::string expected = run(job, rdp);
            EXPECT_TRUE(texts.insert(expected).second) << "the comparison must be able to see a difference";
            if (is_fp16) {
                EXPECT_NE(expected.find(R"("skipped_updates":1)"), std::string::npos) << expected;
                EXPECT_EQ(expected.find(R"("skipped_updates":4)"), std::string::npos) << expected;
            }
            EXPECT_EQ(run(job, rdp, /*threads=*/2), expected) << "two threads";
            for (const Layout& layout : {Layout{1, 2, 2, PipelineSchedule::interleaved, "none", 0},
                                         Layout{1, 1, 4, PipelineSchedule::simple, "each", 1},
                                         Layout{2, 1, 4, PipelineSchedule::simple, "none", 0},
                                         Layout{2, 2, 4, PipelineSchedule::interleaved, "contiguous", 1},
                                         Layout{2, 1, 3, PipelineSchedule::zero_bubble, "group_2", 4},
                                         Layout{4, 1, 3, PipelineSchedule::zero_bubble, "none", 0}}) {
                job.parallel.pipeline_parallel_degree = layout.pp;
                job.parallel.pipeline = layout.schedule;
                job.parallel.virtual_pipeline_degree = layout.chunks;
                job.parallel.active_microbatches = layout.bound;
                job.parallel.activation_checkpointing = layout.checkpointing;
                job.parallel.offload_activations = layout.horizon > 0;
                job.parallel.activation_loading_horizon = std::max(1, layout.horizon);
                job.parallel.shard_optimizer_state = !job.parallel.shard_optimizer_state;
                EXPECT_EQ(run(job, rdp), expected)
                    << (is_fp16 ? "fp16" : "bf16") << ", tp " << tp << ", rdp " << rdp << ", for " << word_of(optimize)
                    << ", " << word_of(layout.schedule) << ", pp " << layout.pp << ", " << layout.chunks
                    << " chunks a stage, " << layout.checkpointing << ", horizon " << layout.horizon;
            }
        }
    }
}

TEST_F(SameNumbers, TensorParallelRunsToo) {
    for (const int tp : {2, 4}) {
        runtime::Job job = this->job();
        testing::change_model(job, [&](auto& model) { model.attn_pdrop = model.resid_pdrop = model.embd_pdrop = 0.1; });
        job.parallel.tensor_parallel_degree = tp;
        const std::string expected = run(job, 1);
        job.parallel.pipeline_parallel_degree = 2;
        EXPECT_EQ(run(job, 1), expected) << "tp " << tp;
        EXPECT_EQ(run(job, 1, 2), expected) << "tp " << tp << ", two threads";
        EXPECT_NE(run(this->job(), 1), expected) << "the comparison must be able to see a difference";
    }
}

}  // namespace
}  // namespace smp
