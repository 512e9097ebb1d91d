// If these fail, a program that uses the library trains on a job that smp_train would refuse: on other numbers, without
// a word, or into a crash.
#include <atomic>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/job/problem.h"
#include "runtime/execution/agreement.h"
#include "runtime/files/data_error.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"

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
