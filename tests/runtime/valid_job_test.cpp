// If these fail, a program that uses the library trains on a job that smp_train would refuse: on other numbers, without
// a word, or into a crash.
#include <atomic>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"
#include "runtime/files/data_error.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"
#include "tests/steep_weights.h"

namespace smp {
namespace {

using runtime::Job;
using ::testing::AllOf;
using ::testing::HasSubstr;

class ValidJob : public ::testing::Test {
  protected:
    /// What a trainer's constructor says on two replicas, as partition::ConfigError; every rank must say it.
    std::string refusal(const std::function<void(Job&)>& change) const {
        Job job = testing::small_training_job(folder_);
        change(job);
        std::string messages[2];
        testing::on_local_ranks(2, [&](comms::Communicator& world) {
            try {
                runtime::Trainer trainer(job, world);
                messages[world.rank()] = "nothing was refused";
            } catch (const partition::ConfigError& error) {
                messages[world.rank()] = error.what();
                const auto* agreed = dynamic_cast<const runtime::AgreedFailure*>(&error);
                ASSERT_NE(agreed, nullptr);
                EXPECT_EQ(agreed->message(), error.what());
                EXPECT_EQ(agreed->exit_code(), 2);
                for (const partition::Problem& problem : error.problems()) EXPECT_FALSE(problem.key.empty());
            }
            world.barrier();  // the world is still usable
        });
        EXPECT_EQ(messages[1], messages[0]);
        return messages[0];
    }

    testing::ScratchFolder folder_;
};

TEST_F(ValidJob, TrainsAsItIs) {
    EXPECT_EQ(refusal([](Job&) {}), "nothing was refused");
}

TEST_F(ValidJob, ABatchDividesIntoItsMicrobatches) {
    EXPECT_THAT(refusal([](Job& job) { job.training.global_batch_size = 15; }),
                AllOf(HasSubstr("training.global_batch_size = 15: "),
                      HasSubstr("2 data-parallel ranks x 4 microbatches"), HasSubstr("change the batch size")));
}

TEST_F(ValidJob, ValuesAreInsideTheirLimits) {
    EXPECT_THAT(refusal([](Job& job) { job.training.learning_rate = -1; }),
                HasSubstr("training.learning_rate = -1: must be 0, or from 1.18e-38 to 3.4e+38"));
    EXPECT_THAT(refusal([](Job& job) { job.parallel.microbatches = 0; }),
                HasSubstr("parallel.microbatches = 0: must be"));
    EXPECT_THAT(refusal([](Job& job) { testing::change_model(job, [](auto& model) { model.n_head = 0; }); }),
                HasSubstr("model.n_head = 0: must be"));
    EXPECT_THAT(refusal([](Job& job) { job.training.steps = 0; }), HasSubstr("training.steps = 0: must be"));
}

TEST_F(ValidJob, ABatchHasASize) {
    EXPECT_THAT(refusal([](Job& job) { job.training.global_batch_size.reset(); }),
                HasSubstr("training.global_batch_size = null: the size of a batch is missing"));
}

// Files are those of the rank's own machine.
TEST_F(ValidJob, ARankWithOtherDataOrOtherWeightsIsNamed) {
    Job job = testing::small_training_job(folder_);
    job.parallel.pipeline_parallel_degree = 2;
    testing::change_model(job, [](auto& model) { model.tie_word_embeddings = false; });
    job.data.order = runtime::DataOrder::sequential;
    Job other = job;
    std::vector<std::uint16_t> tokens(20000);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint16_t>(i % 97);
    const auto messages = [&](const Job& first, const Job& last) {
        std::vector<std::string> said(4);
        testing::on_local_ranks(4, [&](comms::Communicator& world) {
            try {
                runtime::Trainer(world.rank() == 3 ? last : first, world);
            } catch (const runtime::DataError& error) {
                said[world.rank()] = error.what();
            }
        });
        for (const std::string& each : said) EXPECT_EQ(each, said.front());
        return said.front();
    };
    EXPECT_EQ(messages(job, other), "");
    other.data.train = folder_.write_tokens("stale.bin", tokens).string();
    EXPECT_THAT(messages(job, other), AllOf(HasSubstr("rank 3 has other data than rank 0: "), HasSubstr("stale.bin"),
                                            HasSubstr("tokens.bin"), HasSubstr("20000 tokens")));
    other = job;
    job.training.initial_weights = folder_ / "weights.safetensors";
    testing::write_steep_weights(job.training.initial_weights, 4, 32, 40, 97);
    EXPECT_EQ(messages(job, job), "");
    EXPECT_THAT(messages(job, other),
                HasSubstr("rank 3 begins with other values than rank 1: the values of pp 1, tp 0"));
    // The stages of a tied model, each from another file.
    for (Job* each : {&job, &other}) {
        each->training.initial_weights.clear();
        testing::change_model(*each, [](auto& model) { model.tie_word_embeddings = true; });
    }
    other.training.seed = 2;
    std::vector<std::string> said(2);
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        try {
            runtime::Trainer(world.rank() == 1 ? other : job, world);
        } catch (const runtime::DataError& error) {
            said[world.rank()] = error.what();
        }
    });
    EXPECT_THAT(said[1], HasSubstr("wte.weight of tp 0"));
    EXPECT_EQ(said[0], said[1]);
}

TEST_F(ValidJob, SaysAllAtOnce) {
    EXPECT_THAT(refusal([](Job& job) {
                    job.training.learning_rate = -1;
                    job.training.batch_size = 4;
                    testing::change_model(job, [](auto& model) { model.n_head = 0; });
                }),
                AllOf(HasSubstr("training.learning_rate"), HasSubstr("excludes training.global_batch_size"),
                      HasSubstr("model.n_head")));
}

// A mistake that one rank sees is the same class on all of them.
TEST_F(ValidJob, MissingDataAreADataErrorOnEveryRank) {
    Job job = testing::small_training_job(folder_);
    std::atomic<int> told = 0;
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Job own = job;
        if (world.rank() == 1) own.data.train += ".gone";
        try {
            runtime::Trainer trainer(own, world);
        } catch (const runtime::DataError& error) {
            EXPECT_THAT(error.what(), HasSubstr(".gone"));
            ++told;
        }
    });
    EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace smp
