// If these fail, a run leaves out an evaluation, a trace or a record, or tells of them in another order.
#include "runtime/session.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/job/problem.h"
#include "runtime/execution/text_sampler.h"
#include "runtime/files/data_error.h"
#include "runtime/files/safetensors.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"

namespace smp::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Writes down what it is told.
class Listener final : public Recorder {
  public:
    explicit Listener(std::vector<std::string>& heard) : heard_(heard) {}

    void started(const RunStart& run) override {
        heard_.push_back(fmt::format("started on {} with {}{}", partition::to_string(run.at),
                                     run.settings.front().first, run.notes.empty() ? "" : ", " + run.notes.front()));
    }
    void stepped(const StepRecord& record) override {
        heard_.push_back(fmt::format("step {}{}", record.step, record.validation_loss ? " evaluated" : ""));
    }
    void measured(const std::vector<partition::MemoryUse>& ranks) override {
        for (const partition::MemoryUse& rank : ranks) EXPECT_GT(rank.device_peak, 0);
        heard_.push_back(fmt::format("measured {} ranks", ranks.size()));
    }
    void traced(const partition::StepTimes& times) override {
        heard_.push_back(fmt::format("traced {} of {} ranks", times.step, times.ranks.size()));
    }
    void evaluated(const Evaluation& evaluation) override {
        heard_.push_back(fmt::format("evaluation {} drew {}", evaluation.step, evaluation.sample.size()));
    }
    void finished(const RunEnd& end) override {
        heard_.push_back(end.memory.device_peak > 0 ? "finished" : "finished without memory");
    }

  private:
    std::vector<std::string>& heard_;
};

class ASession : public ::testing::Test {
  protected:
    Job job() const {
        Job job = testing::small_training_job(folder_);
        testing::change_model(job, [](auto& model) { model.vocab_size = 256; });  // tokens are bytes
        job.training.steps = 5;
        job.training.evaluate_every = 2;
        job.training.evaluation_batches = 1;
        job.training.sample_tokens = 3;
        job.data.validation_fraction = 0.2;
        job.logging.trace_steps = {2, 5};
        return job;
    }

    testing::ScratchFolder folder_;
};

TEST_F(ASession, TellsWhatHappensInOrder) {
    std::vector<std::string> heard[2];
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Trainer trainer(job(), world);
        Recorders recorders;
        recorders.push_back(std::make_unique<Listener>(heard[world.rank()]));
        Session(trainer, std::move(recorders), {.notes = {"a note"}}).run();
        EXPECT_EQ(trainer.state().steps, 5);
        EXPECT_EQ(trainer.state().updates, 5);
        EXPECT_EQ(trainer.state().samples, 5 * 24);
        EXPECT_EQ(trainer.state().tokens, 5 * 24 * 40);
    });
    EXPECT_THAT(heard[0], ElementsAre("started on pp 0, tp 0, rdp 0 with model, a note", "step 1", "measured 2 ranks",
                                      "step 2 evaluated", "traced 2 of 2 ranks", "evaluation 2 drew 3", "step 3",
                                      "step 4 evaluated", "evaluation 4 drew 3", "step 5 evaluated",
                                      "traced 5 of 2 ranks", "evaluation 5 drew 3", "measured 2 ranks", "finished"));
    EXPECT_THAT(heard[1], ElementsAre("started on pp 0, tp 0, rdp 1 with rank", "step 1", "step 2 evaluated", "step 3",
                                      "step 4 evaluated", "step 5 evaluated"));
}

// A vocabulary that is filled up (50304 for GPT-2's 50257) has tokens that stand for nothing.
TEST_F(ASession, OnlyTokensThatCanBeWrittenAreDrawn) {
    Job job = this->job();
    testing::change_model(job, [](auto& model) { model.vocab_size = 300; });
    for (const double temperature : {0.0, 1.0}) {
        job.training.sample_temperature = temperature;
        const at::Tensor logits = at::zeros({1, 300});
        logits.slice(1, 256).fill_(20);
        logits.select(1, 65).fill_(10);
        EXPECT_EQ(TextSampler(text_request(job.training, 1), job, 40).draw(logits), 65);
    }
    testing::change_model(job, [](auto& model) { model.vocab_size = 97; });
    job.training.sample_prompt = "az";
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        EXPECT_THAT([&] { Trainer(job, world); },
                    ::testing::ThrowsMessage<partition::ConfigError>(
                        HasSubstr("training.sample_prompt has token 97, and the model has 97 only")));
    });
}

// A token that only the validation data have, and whose embedding is finite, but not the sum over it.
TEST_F(ASession, AValidationLossThatIsNotFiniteEndsItAfterTheRecordOfTheStep) {
    Job job = this->job();
    testing::change_model(job, [](auto& model) { model.tie_word_embeddings = false; });
    job.data.validation_fraction = 0;
    job.data.validation = folder_.write_tokens("rare.bin", std::vector<std::uint16_t>(2000, 200)).string();
    std::vector<at::Tensor> values;
    std::vector<SafetensorsEntry> entries;
    testing::on_local_ranks(1, [&](comms::Communicator& world) {
        Trainer trainer(job, world);
        for (const std::string& name : trainer.parameter_names()) {
            const at::Tensor value = trainer.gather_value(name);
            if (name == "wte.weight") value.select(0, 200).fill_(3e38F);
            values.push_back(value);
            entries.push_back(
                {.name = name,
                 .shape = value.sizes().vec(),
                 .bytes = {reinterpret_cast<const std::byte*>(value.const_data_ptr<float>()), value.nbytes()}});
        }
    });
    job.training.initial_weights = folder_ / "weights.safetensors";
    write_safetensors(job.training.initial_weights, entries);
    std::vector<std::string> heard[2];
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Trainer trainer(job, world);
        Recorders recorders;
        recorders.push_back(std::make_unique<Listener>(heard[world.rank()]));
        Session session(trainer, std::move(recorders));
        EXPECT_THAT([&] { session.run(); }, ::testing::ThrowsMessage<partition::ConfigError>(
                                                HasSubstr("step 2: the validation loss is not finite")));
    });
    EXPECT_EQ(heard[0].back(), "step 2");
}

TEST_F(ASession, ARecorderThatCannotStartEndsItOnEveryRank) {
    class Unwritable final : public Recorder {
        void started(const RunStart& /*run*/) override { throw DataError("the disk is full"); }
    };
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Trainer trainer(job(), world);
        Recorders recorders;
        if (world.rank() == 0) recorders.push_back(std::make_unique<Unwritable>());
        Session session(trainer, std::move(recorders));
        EXPECT_THAT([&] { session.run(); }, ::testing::ThrowsMessage<DataError>(HasSubstr("the disk is full")));
        EXPECT_EQ(trainer.steps_done(), 0);
    });
}

}  // namespace
}  // namespace smp::runtime
