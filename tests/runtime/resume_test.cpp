// Going on from a checkpoint gives the numbers that not stopping would have given, whatever the layouts on both sides.
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/model_spec.h"
#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/files/data_error.h"
#include "runtime/files/safetensors.h"
#include "runtime/files/sum128.h"
#include "runtime/session.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/pairwise.h"
#include "tests/runtime/small_training_job.h"

namespace smp {
namespace {

using ::testing::HasSubstr;
using testing::on_local_ranks;

/// The text of every step, by step.
class Lines final : public runtime::Recorder {
  public:
    explicit Lines(std::map<std::int64_t, std::string>& lines) : lines_(lines) {}
    void stepped(const runtime::StepRecord& record) override {
        lines_[record.step] = runtime::to_json_line(runtime::without_measurements(record));
    }

  private:
    std::map<std::int64_t, std::string>& lines_;
};

class Resume : public ::testing::Test {
  protected:
    Resume() {
        job_ = testing::small_training_job(folder_);
        job_.training.steps = 8;
        job_.training.warmup_steps = 2;
        job_.training.evaluate_every = 3;
        job_.training.evaluation_batches = 1;
        job_.data.validation_fraction = 0.2;
        testing::change_model(job_, [](auto& model) {
            model.n_layer = 6;
            model.vocab_size = 98;  // tensor degree 4 pads it
            model.embd_pdrop = model.resid_pdrop = model.attn_pdrop = 0.1;
        });
        job_.checkpoint.directory = folder_ / "checkpoints";
        job_.checkpoint.keep = 100;
    }

    static int ranks_of(const runtime::Job& job, int rdp) {
        return job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
    }

    /// Trains until `stop` (all steps without it), from a checkpoint where there is one; the lines of its steps.
    std::map<std::int64_t, std::string> train(const runtime::Job& job, int rdp, std::optional<int> stop = {},
                                              const std::filesystem::path& from = {}) {
        std::map<std::int64_t, std::string> lines;
        on_local_ranks(ranks_of(job, rdp), [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            if (!from.empty()) trainer.load(from);
            runtime::Recorders recorders;
            if (world.rank() == 0) recorders.push_back(std::make_unique<Lines>(lines));
            const auto request = [&] {
                using Kind = runtime::Request::Kind;
                return runtime::Request{stop && trainer.steps_done() >= *stop ? Kind::stop : Kind::none};
            };
            runtime::Session(trainer, std::move(recorders), {.notes = {}, .request = request}).run();
        });
        return lines;
    }
    std::filesystem::path checkpoint(std::int64_t step) const {
        return runtime::checkpoint_path(job_.checkpoint.directory, step);
    }

    /// The settings that the promise of equal numbers covers, by a row of choices.
    static constexpr int kSettings = 8;
    static std::vector<int> choices() { return {3, 2, 2, 4, 2, 3, 2, 2}; }
    runtime::Job with(const std::vector<int>& row) const {
        runtime::Job job = job_;
        auto& parallel = job.parallel;
        parallel.pipeline_parallel_degree = row[0] + 1;
        parallel.virtual_pipeline_degree = row[0] > 0 ? row[1] + 1 : 1;
        const bool is_chunked = parallel.virtual_pipeline_degree > 1;
        parallel.pipeline = row[2] == 1 && !is_chunked ? partition::PipelineSchedule::zero_bubble
                                                       : partition::PipelineSchedule::interleaved;
        parallel.activation_checkpointing = std::vector<std::string>{"none", "each", "contiguous", "selective"}[row[3]];
        parallel.offload_activations = row[4] == 1 && row[3] > 0 && row[3] < 3;
        parallel.bf16 = row[5] == 1;
        parallel.fp16 = row[5] == 2;
        if (parallel.fp16)  // overflows at first, and grows soon
            job.training.loss_scale =
                runtime::LossScaleOptions{.initial = std::int64_t{1} << 28, .growth_interval = 2, .hysteresis = 1};
        parallel.shard_optimizer_state = row[6] == 1;
        parallel.optimize = row[7] == 1 ? partition::Optimize::memory : partition::Optimize::speed;
        return job;
    }

    testing::ScratchFolder folder_;
    runtime::Job job_;
};

// Two layouts a row: the run is stopped in one and goes on in the other; what may not change numbers differs.
TEST_F(Resume, InAnyLayoutOfTheSameArithmeticTheTextIsTheSame) {
    const auto rows = testing::pairwise(choices());
    std::map<std::pair<int, int>, std::map<std::int64_t, std::string>> straight;  // by precision and what is optimized
    int resumed = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        auto first = rows[i], second = rows[(i + 1) % rows.size()];
        second[5] = first[5];  // precision
        second[7] = first[7];  // optimize: cuts rows, so the order of sums, over tensor ranks
        runtime::Job before = with(first), after = with(second);
        before.parallel.tensor_parallel_degree = after.parallel.tensor_parallel_degree = 2;
        const int rdp = 2;
        const std::pair arithmetic(first[5], first[7]);
        if (!straight.contains(arithmetic)) {
            runtime::Job whole = before;
            whole.checkpoint.directory = folder_ / "other";
            straight[arithmetic] = train(whole, rdp);
        }
        const int stop = 1 + static_cast<int>(i % 7);
        auto lines = train(before, rdp, stop);
        ASSERT_EQ(lines.size(), static_cast<std::size_t>(stop));
        lines.merge(train(after, rdp, {}, checkpoint(stop)));
        EXPECT_EQ(lines, straight[arithmetic]) << "row " << i << ", stopped after " << stop;
        ++resumed;
    }
    EXPECT_GE(resumed, 12);
}

/// Every element of every tensor.
std::vector<float> state_in(const std::filesystem::path& path) {
    runtime::Checkpoint checkpoint(path);
    EXPECT_THAT(checkpoint.faults(), ::testing::IsEmpty());
    std::vector<float> all;
    for (const auto& [tensor, shape] : checkpoint.manifest().tensors)
        for (const auto kind :
             {runtime::StateKind::weight, runtime::StateKind::first_moment, runtime::StateKind::second_moment}) {
            std::size_t elements = 1;
            for (const std::int64_t extent : shape) elements *= static_cast<std::size_t>(extent);
            const std::size_t begin = all.size();
            all.resize(begin + elements);
            checkpoint.read(tensor, kind, 0, std::span(all).subspan(begin));
        }
    return all;
}

// Loaded and written again, in layouts with padding, shards, chunks and tied copies on several ranks: not a bit
// changes.
TEST_F(Resume, TheStateIsTheSameInEveryLayout) {
    job_.training.steps = 2;
    train(job_, 1);
    const auto state = state_in(checkpoint(2));
    struct Layout {
        int pp, tp, rdp, chunks;
        bool sharded, bf16;
    };
    for (const Layout& layout : {Layout{2, 4, 1, 1, false, false}, Layout{3, 1, 2, 2, true, false},
                                 Layout{1, 2, 3, 1, true, true}, Layout{6, 1, 1, 1, false, true}}) {
        runtime::Job job = job_;
        job.parallel.pipeline_parallel_degree = layout.pp;
        job.parallel.tensor_parallel_degree = layout.tp;
        job.parallel.virtual_pipeline_degree = layout.chunks;
        job.parallel.shard_optimizer_state = layout.sharded;
        job.parallel.bf16 = layout.bf16;
        job.checkpoint.directory = folder_ / "again";
        std::filesystem::remove_all(job.checkpoint.directory);
        on_local_ranks(ranks_of(job, layout.rdp), [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world);
            trainer.load(checkpoint(2));
            EXPECT_EQ(trainer.steps_done(), 2);
            runtime::RunCheckpoints checkpoints(trainer);
            checkpoints.begin();
            EXPECT_EQ(checkpoints.settle()->failure, "");
        });
        EXPECT_EQ(state_in(runtime::checkpoint_path(job.checkpoint.directory, 2)), state)
            << fmt::format("pp {} tp {} rdp {}", layout.pp, layout.tp, layout.rdp);
    }
}

TEST_F(Resume, AnotherModelIsRefusedAndACutFileToo) {
    train(job_, 1, 1);
    runtime::Job other = job_;
    testing::change_model(other, [](auto& model) { model.n_head = 2; });
    on_local_ranks(2, [&](comms::Communicator& world) {
        runtime::Job two = other;
        two.parallel.pipeline_parallel_degree = 2;
        runtime::Trainer trainer(two, world);
        EXPECT_THROW(
            {
                try {
                    trainer.load(checkpoint(1));
                } catch (const partition::ConfigError& error) {
                    EXPECT_THAT(error.what(), HasSubstr("model.n_head: 4 -> 2"));
                    throw;
                }
            },
            partition::ConfigError);
    });
    std::filesystem::resize_file(checkpoint(1) / "rank_00000.safetensors", 1000);
    on_local_ranks(1, [&](comms::Communicator& world) {
        runtime::Trainer trainer(job_, world);
        EXPECT_THROW(trainer.load(checkpoint(1)), runtime::DataError);
    });
}

TEST_F(Resume, WeightsThatThePrecisionCannotHoldAreRefused) {
    job_.training.learning_rate = 1e5;  // so far one step goes
    job_.training.warmup_steps = 0;
    train(job_, 1, 1);
    const auto refusal = [&](const runtime::Job& job) {
        std::string reason;
        on_local_ranks(2, [&](comms::Communicator& world) {
            runtime::Job two = job;
            two.parallel.pipeline_parallel_degree = 2;
            runtime::Trainer trainer(two, world);
            try {
                trainer.load(checkpoint(1));
            } catch (const partition::ConfigError& error) {
                if (world.rank() == 0) reason = error.what();
            }
        });
        return reason;
    };
    EXPECT_EQ(refusal(job_), "");
    job_.parallel.bf16 = true;
    EXPECT_EQ(refusal(job_), "");
    job_.parallel.bf16 = false;
    job_.parallel.fp16 = true;
    EXPECT_THAT(refusal(job_),
                ::testing::AllOf(HasSubstr("step_00000001\": wte.weight has element 0 of "),
                                 HasSubstr("beyond fp16, which ends at 65504"), HasSubstr("parallel.bf16")));
}

// Its sums hold: the run that wrote it had such weights.
TEST_F(Resume, WeightsThatAreNotFiniteAreRefused) {
    train(job_, 1, 1);
    const auto part = checkpoint(1) / "rank_00000.safetensors", manifest = checkpoint(1) / "manifest.json";
    std::string bytes = testing::content(part), text = testing::content(manifest);
    const auto sum = [](std::string_view of) { return runtime::sum128(std::as_bytes(std::span(of))); };
    const auto replace = [&](const std::string& from, const std::string& to) {
        ASSERT_NE(text.find(from), std::string::npos);
        text.replace(text.find(from), from.size(), to);
    };
    const std::string before = sum(bytes);  // one chunk
    runtime::SafetensorsFile file(part);
    for (const auto& entry : file.entries()) {
        if (entry.name != "h.2.ln_1.bias" && entry.name.find("h.2.ln_1.bias") == std::string::npos) continue;
        if (entry.name.find("moment") != std::string::npos) continue;
        const auto at = static_cast<std::size_t>(entry.bytes.data() - file.bytes().data());
        const float nan = std::numeric_limits<float>::quiet_NaN();
        std::memcpy(bytes.data() + at + 3 * sizeof nan, &nan, sizeof nan);
    }
    std::ofstream(part, std::ios::binary) << bytes;
    replace(before, sum(bytes));
    const std::string tail = ",\n\t\"sum\": \"";
    const std::string summed = text.substr(0, text.rfind(tail));
    text.replace(text.rfind(tail) + tail.size(), 32, sum(summed));
    std::ofstream(manifest, std::ios::binary) << text;
    on_local_ranks(1, [&](comms::Communicator& world) {
        runtime::Trainer trainer(job_, world);
        EXPECT_THROW(
            {
                try {
                    trainer.load(checkpoint(1));
                } catch (const runtime::DataError& error) {
                    EXPECT_THAT(error.what(), HasSubstr("h.2.ln_1.bias has element 3 of nan"));
                    throw;
                }
            },
            runtime::DataError);
    });
}

TEST_F(Resume, ALastCheckpointThatIsNotThereIsAFailureOnEveryRank) {
    job_.parallel.pipeline_parallel_degree = 2;
    job_.training.steps = 2;
    job_.checkpoint.every = 1;
    job_.checkpoint.directory = folder_.write("a file", "") / "checkpoints";
    on_local_ranks(2, [&](comms::Communicator& world) {
        runtime::Trainer trainer(job_, world);
        try {
            runtime::Session(trainer, {}).run();
            ADD_FAILURE();
        } catch (const std::exception& error) {
            EXPECT_EQ(runtime::exit_code_of(error), 6);
            EXPECT_THAT(error.what(), HasSubstr("its last checkpoint is not there"));
        }
        EXPECT_EQ(trainer.steps_done(), 2);
    });
}

// An older one that stays is no reason to call a complete one missing.
TEST_F(Resume, AnOldCheckpointThatCannotBeRemovedIsSaidAndNoFailure) {
    class Saves final : public runtime::Recorder {
      public:
        explicit Saves(std::vector<runtime::SavedCheckpoint>& saves) : saves_(saves) {}
        void saved(const runtime::SavedCheckpoint& checkpoint) override { saves_.push_back(checkpoint); }

      private:
        std::vector<runtime::SavedCheckpoint>& saves_;
    };
    job_.training.steps = 2;
    job_.checkpoint.every = job_.checkpoint.keep = 1;
    job_.checkpoint.asynchronous = false;
    std::vector<runtime::SavedCheckpoint> saves;
    on_local_ranks(1, [&](comms::Communicator& world) {
        runtime::Trainer trainer(job_, world);
        runtime::Recorders recorders;
        recorders.push_back(std::make_unique<Saves>(saves));
        const auto block_removal = [&] {
            if (trainer.steps_done() == 2)
                std::filesystem::create_directories(folder_ / "checkpoints/step_00000001.partial/of somebody");
            return runtime::Request{};
        };
        runtime::Session(trainer, std::move(recorders), {.notes = {}, .request = block_removal}).run();
    });
    ASSERT_FALSE(saves.empty());
    EXPECT_EQ(saves.back().step, 2);
    EXPECT_EQ(saves.back().failure, "");
    EXPECT_THAT(saves.back().note, HasSubstr("step_00000001\" is older than checkpoint.keep and cannot be removed"));
    EXPECT_THAT(runtime::Checkpoint(checkpoint(2)).faults(), ::testing::IsEmpty());
}

// What a save copies, and no more: each element of the state once over all ranks, replicas share the work.
TEST_F(Resume, ASaveCopiesWhatTheRanksOwn) {
    const std::int64_t state = 3 * models::parameter_count(*job_.model.spec);
    for (const bool sharded : {false, true}) {
        auto job = job_;
        job.parallel.shard_optimizer_state = sharded;
        std::atomic<std::int64_t> copied = 0, most = 0;
        on_local_ranks(3, [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world, {});
            const auto own = static_cast<std::int64_t>(trainer.snapshot().values.size());
            copied += own;
            for (std::int64_t before = most; before < own && !most.compare_exchange_weak(before, own);) {}
        });
        EXPECT_EQ(copied, state);
        EXPECT_LT(most, state / 2) << "of three replicas";
    }
}

}  // namespace
}  // namespace smp
