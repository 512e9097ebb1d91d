// Training in 16 bits: how near it stays to fp32, what overflows do, and what is said of numbers that are not finite.
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/agreement/agreement.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/state/learning_rate.h"
#include "runtime/trainer.h"
#include "runtime/update/non_finite.h"
#include "tests/runtime/golden_case.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"
#include "tests/steep_weights.h"

namespace smp {
namespace {

using partition::Precision;
using runtime::StepRecord;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::on_local_ranks;

runtime::Job in_precision(runtime::Job job, Precision precision) {
    job.parallel.fp16 = precision == Precision::fp16;
    job.parallel.bf16 = precision == Precision::bf16;
    return job;
}

int ranks_of(const runtime::Job& job, int rdp) {
    return job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
}

std::vector<StepRecord> train(const runtime::Job& job, int rdp = 1) {
    std::vector<StepRecord> records;
    on_local_ranks(ranks_of(job, rdp), [&](comms::Communicator& world) {
        runtime::Trainer trainer(job, world);
        while (trainer.steps_done() < job.training.steps) {
            const StepRecord record = trainer.step();
            if (world.rank() == 0) records.push_back(record);
        }
    });
    return records;
}

/// What the job says when it ends; every rank must say it.
std::string failure_of(const runtime::Job& job, int* exit_code = nullptr) {
    std::vector<std::string> messages(static_cast<std::size_t>(ranks_of(job, 1)), "nothing was refused");
    on_local_ranks(ranks_of(job, 1), [&](comms::Communicator& world) {
        runtime::Trainer trainer(job, world);
        try {
            while (trainer.steps_done() < job.training.steps) trainer.step();
        } catch (const runtime::AgreedFailure& failure) {
            messages[static_cast<std::size_t>(world.rank())] = failure.message();
            if (exit_code != nullptr && world.rank() == 0) *exit_code = failure.exit_code();
        }
    });
    for (const std::string& message : messages) EXPECT_EQ(message, messages.front());
    return messages.front();
}

class InSixteenBits : public ::testing::TestWithParam<Precision> {
  protected:
    testing::ScratchFolder folder_;
};

// A bf16 number has 8 bits, so it is off by up to 0.4 %; a loss is a mean over many of them. Measured: 0.07 % in bf16
// and 0.011 % in fp16 at most over the 200 steps, from 6.24 down to 2.66.
TEST_P(InSixteenBits, TrainsAsFp32DoesWithinOnePercent) {
    runtime::Job job = testing::golden_case("tiny").job;
    job.training.steps = 200;
    job.parallel.microbatches = 2;
    const auto exact = train(job), rounded = train(in_precision(job, GetParam()));
    ASSERT_EQ(rounded.size(), exact.size());
    double largest = 0;
    for (std::size_t i = 0; i < exact.size(); ++i)
        largest = std::max(largest, std::abs(rounded[i].loss / exact[i].loss - 1));
    RecordProperty("largest_difference", fmt::format("{}", largest));
    RecordProperty("last_loss", fmt::format("{}", rounded.back().loss));
    EXPECT_LE(largest, 0.01);
    EXPECT_GT(largest, 0) << "it has trained in fp32";
    EXPECT_LT(exact.back().loss, 0.9 * exact.front().loss) << "it has learned nothing";
    EXPECT_EQ(rounded.back().skipped_updates, 0);
}

// 12 bytes a parameter: two moments and the master, on every replica or on its owner alone. Values are rounded masters:
// what a sharded run gathers is what an unsharded one has.
TEST_P(InSixteenBits, OptimizerStatesAreThreeNumbersAParameter) {
    runtime::Job job = in_precision(testing::small_training_job(folder_), GetParam());
    for (const int rdp : {1, 2, 3}) {
        std::map<bool, std::vector<std::int64_t>> bytes;
        std::map<bool, at::Tensor> values;
        for (const bool sharded : {false, true}) {
            job.parallel.shard_optimizer_state = sharded;
            bytes[sharded].resize(static_cast<std::size_t>(rdp));
            on_local_ranks(rdp, [&](comms::Communicator& world) {
                runtime::Trainer trainer(job, world);
                trainer.step();
                bytes[sharded][static_cast<std::size_t>(world.rank())] = trainer.optimizer_bytes();
                const at::Tensor value = trainer.gather_value("h.0.mlp.c_fc.weight");
                if (world.rank() == 0) values[sharded] = value;
            });
        }
        // Everything is a multiple of 128 elements in this model, or a vector of 32 or 96 that is padded.
        std::int64_t padded = 0;
        on_local_ranks(1, [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            for (const std::string& name : trainer.parameter_names())
                padded += (trainer.gather_value(name).numel() + 127) / 128 * 128;
        });
        for (int rank = 0; rank < rdp; ++rank) {
            EXPECT_EQ(bytes[true][rank] * rdp, bytes[false][rank]);
            EXPECT_GE(bytes[false][rank], 12 * padded);
            EXPECT_LT(bytes[false][rank], 12 * (padded + 128 * rdp));
        }
        EXPECT_TRUE(values[false].equal(values[true]));
        const auto type = models::value_type(GetParam());
        EXPECT_TRUE(values[true].equal(values[true].to(type).to(at::kFloat))) << "values are no 16-bit numbers";
    }
}

// Updates of a thousandth of a value's last place are lost in 16 bits and add up in masters.
TEST_P(InSixteenBits, MastersKeepUpdatesThatAreTooSmallForValues) {
    runtime::Job job = in_precision(testing::small_training_job(folder_), GetParam());
    job.training.steps = 40;
    job.training.learning_rate = 1e-4;
    job.training.min_learning_rate = 1e-4;
    job.training.weight_decay = 0;
    on_local_ranks(1, [&](comms::Communicator& world) {
        runtime::Trainer trainer(job, world);
        const at::Tensor gains =
            trainer.gather_value("ln_f.weight");  // ones; last place 2^-7 or 2^-10, 2^-8 or 2^-11 below
        trainer.step();
        EXPECT_TRUE(trainer.gather_value("ln_f.weight").equal(gains));
        while (trainer.steps_done() < job.training.steps) trainer.step();
        EXPECT_FALSE(trainer.gather_value("ln_f.weight").equal(gains));
    });
}

INSTANTIATE_TEST_SUITE_P(Precisions, InSixteenBits, ::testing::Values(Precision::bf16, Precision::fp16),
                         [](const auto& instance) { return partition::word_of(instance.param); });

class Overflow : public ::testing::Test {
  protected:
    runtime::Job job() const {
        runtime::Job job = in_precision(testing::small_training_job(folder_), Precision::fp16);
        job.training.steps = 60;
        job.training.warmup_steps = 10;
        std::vector<std::uint16_t> tokens(20000);  // each says what the next one is
        for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint16_t>(7 * i % 97);
        job.data.train = folder_.write_tokens("pattern.bin", tokens).string();
        job.training.loss_scale = {{.initial = std::int64_t{1} << 40, .growth_interval = 5, .hysteresis = 2}};
        return job;
    }
    testing::ScratchFolder folder_;
};

TEST_F(Overflow, SkipsUpdatesHalvesTheScaleThenTrainsAndGrows) {
    const auto records = train(job());
    ASSERT_EQ(records.size(), 60U);
    std::int64_t skipped = 0;
    int streaks = 0;
    double first_loss = records.front().loss;
    for (std::size_t i = 0; i < records.size(); ++i) {
        const StepRecord& record = records[i];
        const bool overflowed = record.skipped_updates > skipped;
        const bool before = i > 0 && records[i - 1].skipped_updates > (i > 1 ? records[i - 2].skipped_updates : 0);
        // The rate is that of the update which is next, whatever the step.
        EXPECT_EQ(record.learning_rate, runtime::learning_rate_at(job().training, record.step - 1 - skipped))
            << record.step;
        EXPECT_EQ(record.tokens, record.step * 24 * 40);
        EXPECT_EQ(std::isfinite(record.grad_norm), !overflowed);
        EXPECT_TRUE(std::isfinite(record.loss));
        EXPECT_EQ(record.notice.empty(), !overflowed || before) << record.notice;
        if (overflowed && !before) {
            ++streaks;
            EXPECT_THAT(record.notice,
                        AllOf(HasSubstr(fmt::format("step {} made no update: the gradient of ", record.step)),
                              HasSubstr("overflowed in fp16 on rank 0 (pp 0"), HasSubstr("the loss scale ")));
        }
        skipped = record.skipped_updates;
    }
    // 2^40 · gradients / 960 tokens overflow at once, until the scale is some millions; one step is forgiven.
    EXPECT_GT(records[10].skipped_updates, 10);
    EXPECT_THAT(records.front().notice, HasSubstr("with the loss scale 1099511627776, which is now 1099511627776"));
    EXPECT_GT(streaks, 1) << "the scale has not grown until it overflowed again";
    EXPECT_LT(skipped, 40);
    EXPECT_LT(records.back().loss, first_loss / 2);
}

// At the minimum nothing can be done any more.
TEST_F(Overflow, ARunOfThemAtTheMinimumEndsTheJob) {
    runtime::Job job = this->job();
    const std::int64_t scale = std::int64_t{1} << 40;
    job.training.loss_scale = {{.initial = 2 * scale, .growth_interval = 5, .hysteresis = 1, .minimum = scale}};
    int exit_code = 0;
    EXPECT_THAT(failure_of(job, &exit_code), AllOf(HasSubstr("the last 10 steps overflowed"),
                                                   HasSubstr("training.loss_scale.minimum = 1099511627776"),
                                                   HasSubstr("step 11 made no update: the gradient of ")));
    EXPECT_EQ(exit_code, 2);
}

// Nothing of a step without an update stays but its data and its count.
TEST_F(Overflow, ASkippedUpdateChangesNothing) {
    for (const bool sharded : {false, true}) {
        runtime::Job job = this->job();
        job.parallel.pipeline_parallel_degree = 2;
        job.parallel.shard_optimizer_state = sharded;
        on_local_ranks(4, [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            const at::Tensor before = trainer.gather_value("h.1.attn.c_attn.weight");
            const StepRecord record = trainer.step();
            EXPECT_EQ(record.skipped_updates, 1);
            // The last module's overflow first; with sharded states on whichever replica has that part.
            EXPECT_THAT(record.notice, ::testing::ContainsRegex(
                                           "the gradient of ln_f\\..* \\(module lm_head\\), added up over replicas, "
                                           "overflowed in fp16 on rank [13] \\(pp 1"));
            const at::Tensor after = trainer.gather_value("h.1.attn.c_attn.weight");
            if (world.rank() == 0) {
                EXPECT_TRUE(after.equal(before));
            }
            EXPECT_EQ(trainer.steps_done(), 1);
        });
    }
}

TEST_F(Overflow, SmallGradientsNeedAScale) {
    const auto numbers = [&](std::int64_t scale) {
        runtime::Job job = this->job();
        job.training.steps = job.training.warmup_steps = 4;
        job.training.loss_scale = {{.initial = scale, .growth_interval = 1000}};
        std::string text;
        for (const StepRecord& record : train(job)) {
            EXPECT_EQ(record.skipped_updates, 0);
            text += fmt::format("{} {}\n", record.loss, record.grad_norm);
        }
        return text;
    };
    // A power of two scales exactly, so it shows only where gradients would be below fp16's normal numbers without it.
    EXPECT_NE(numbers(1), numbers(1 << 16));
}

class NonFinite : public ::testing::Test {
  protected:
    /// tests/golden/tiny's weights with the first element of one tensor replaced.
    std::string weights_with(const std::string& tensor, float value) const {
        std::ifstream stream(testing::golden_case("tiny").folder + "/model.safetensors", std::ios::binary);
        std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
        std::uint64_t length = 0;
        std::memcpy(&length, bytes.data(), sizeof length);
        const auto header = nlohmann::json::parse(bytes.substr(8, length));
        const auto& entry = header.contains(tensor) ? header[tensor] : header["transformer." + tensor];
        const auto begin = entry["data_offsets"][0].get<std::uint64_t>();
        std::memcpy(bytes.data() + 8 + length + begin, &value, sizeof value);
        return folder_.write("planted.safetensors", bytes).string();
    }
    runtime::Job job() const {
        runtime::Job job = testing::golden_case("tiny").job;
        job.parallel.pipeline_parallel_degree = 2;
        job.parallel.tensor_parallel_degree = 2;
        job.parallel.microbatches = 2;
        return job;
    }
    testing::ScratchFolder folder_;
};

// In the file it is refused before the first step: see InitialWeights.
TEST_F(NonFinite, AValueIsNamed) {
    runtime::Job job = in_precision(this->job(), Precision::fp16);
    job.training.steps = 3;
    job.training.learning_rate = 1e5;  // the first update ends beyond fp16's 65504
    job.training.warmup_steps = 0;
    int exit_code = 0;
    EXPECT_THAT(failure_of(job, &exit_code),
                AllOf(HasSubstr("step 2: the loss is not finite"),
                      HasSubstr("the value of wte.weight (module wte) on rank 0 (pp 0, tp 0"),
                      HasSubstr("a lower training.learning_rate")));
    EXPECT_EQ(exit_code, 2);
}

// Finite, but its layer's products are beyond fp16's 65504.
TEST_F(NonFinite, AModuleIsNamedWhoseOutputOverflows) {
    runtime::Job job = in_precision(this->job(), Precision::fp16);
    job.training.initial_weights = weights_with("h.1.ln_2.weight", 65000);
    const char* expected = "step 1: the loss is not finite, which first shows in the output of h.1 on rank 0";
    EXPECT_THAT(failure_of(job), HasSubstr(expected));
    // More microbatches than are active at once, in groups of layers that are computed twice, of sharded rows.
    job.parallel.active_microbatches = 1;
    job.parallel.activation_checkpointing = "each";
    job.parallel.offload_activations = true;
    job.parallel.optimize = partition::Optimize::memory;
    EXPECT_THAT(failure_of(job), HasSubstr("which first shows in the output of h.1 on rank "));
    EXPECT_THAT(failure_of(in_precision(job, Precision::bf16)), HasSubstr("nothing was refused"));
}

TEST_F(NonFinite, AGradientIsNamedWithAFiniteLoss) {
    runtime::Job job = testing::small_training_job(folder_);
    job.parallel.pipeline_parallel_degree = 2;
    testing::change_model(job, [&](auto& model) {
        model.layer_norm_epsilon = 1.2e-38;
        model.tie_word_embeddings = false;
    });
    job.training.initial_weights = folder_ / "steep.safetensors";
    testing::write_steep_weights(job.training.initial_weights, 4, 32, 40, 97);
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
        int exit_code = 0;
        EXPECT_THAT(failure_of(in_precision(job, precision), &exit_code),
                    ::testing::StartsWith("step 1: the gradients are not finite, which first shows in the gradient of "
                                          "h.3.attn.c_attn.bias (module h.3) on rank 1 (pp 1, tp 0, rdp 0); a lower "
                                          "training.learning_rate"));
        EXPECT_EQ(exit_code, 2);
    }
}

}  // namespace
}  // namespace smp
