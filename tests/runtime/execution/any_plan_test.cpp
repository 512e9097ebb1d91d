// What the checker lets pass, runs: random valid plans, and random changes of valid plans, on thread ranks whose sends
// are rendezvous (comms/backends/local.cpp: a message moves when both sides have posted it).
#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "partition/check/checker.h"
#include "runtime/files/data_error.h"
#include "runtime/job/job_plan.h"
#include "runtime/records/plan_json.h"
#include "runtime/trainer.h"
#include "tests/partition/every_value.h"
#include "tests/partition/mutate.h"
#include "tests/runtime/execution/mutate_json.h"
#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/gpt2_job.h"
#include "tests/runtime/local_ranks.h"
#include "tests/seed.h"

namespace smp {
namespace {

using partition::PipelineSchedule;

/// Tokens and a model so small that what takes time is what moves and waits.
class AnyPlan : public ::testing::Test {
  protected:
    AnyPlan() {
        std::mt19937 random(7);
        std::vector<std::uint16_t> tokens(4000);
        for (auto& token : tokens) token = static_cast<std::uint16_t>(random() % 31);
        data_ = folder_.write_tokens("tokens.bin", tokens).string();
    }

    runtime::Job job(int layers) const {
        runtime::Job job;
        testing::change_model(job, [&](auto& model) {
            model.n_layer = layers;
            model.n_head = 2;
            model.n_embd = 8;
            model.n_positions = 6;
            model.vocab_size = 31;
        });
        job.training.steps = 2;
        job.training.learning_rate = 1e-2;
        job.data.train = data_;
        job.data.format = runtime::DataFormat::nanogpt;
        return job;
    }

    static int ranks(const runtime::Job& job, int rdp) {
        return job.parallel.pipeline_parallel_degree * job.parallel.tensor_parallel_degree * rdp;
    }

    /// Loss and gradient norm of two steps, as text: the second depends on every gradient of the first.
    static std::string run(const runtime::Job& job, int world_size, const runtime::TrainerOptions& options = {}) {
        std::string text;
        testing::on_local_ranks(world_size, [&](comms::Communicator& world) {
            runtime::Trainer trainer(job, world, options);
            for (int step = 0; step < 2; ++step) {
                const auto record = trainer.step();
                if (world.rank() == 0) text += fmt::format("{} {}\n", record.loss, record.grad_norm);
            }
        });
        return text;
    }

    testing::ScratchFolder folder_;
    std::string data_;
};

/// Holds every action up for up to 0.2 ms, one in four, and every copy to and from host memory.
runtime::ExecutorOptions random_delays(std::uint64_t seed) {
    const auto hold_up = [seed](const partition::Action&) {
        thread_local std::mt19937_64 random(seed ^ std::hash<std::thread::id>{}(std::this_thread::get_id()));
        if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
    };
    return {.before_action = hold_up, .copies = {.bytes_per_second = 1e6 * static_cast<double>(1 + seed % 10)}};
}

TEST_F(AnyPlan, RandomPlansGiveTheLossesOfOneRank) {
    std::mt19937_64 random(testing::seed());
    const auto draw = [&](int first, int last) { return std::uniform_int_distribution<int>(first, last)(random); };
    std::map<std::tuple<int, int, int, bool, partition::Optimize>, std::string> expected;  // by tp, rdp, m, tied
    std::map<std::string, int> drawn;
    for (int i = 0; i < 60; ++i) {
        runtime::Job job = this->job(/*layers=*/12);
        auto& parallel = job.parallel;
        const int tp = parallel.tensor_parallel_degree = draw(1, 2), rdp = draw(1, 2), m = draw(1, 12);
        parallel.microbatches = m;
        job.training.global_batch_size = rdp * m;
        const bool tied = draw(0, 1) == 1;
        testing::change_model(job, [&](auto& model) {
            model.tie_word_embeddings = tied;
            model.resid_pdrop = 0.1;
        });
        parallel.optimize = static_cast<partition::Optimize>(draw(0, 1));
        auto& reference = expected[{tp, rdp, m, tied, parallel.optimize}];
        if (reference.empty()) reference = run(job, ranks(job, rdp));

        parallel.pipeline_parallel_degree = draw(1, 4);
        parallel.pipeline = static_cast<PipelineSchedule>(draw(0, 2));
        int least = parallel.pipeline == PipelineSchedule::simple ? m : 1;
        if (parallel.pipeline == PipelineSchedule::interleaved) {
            parallel.virtual_pipeline_degree = draw(1, 3);
            if (parallel.virtual_pipeline_degree > 1) least = std::min(m, 2 * parallel.pipeline_parallel_degree);
        }
        parallel.active_microbatches = draw(least, m);
        parallel.memory_weight = draw(0, 10) / 10.0;
        parallel.shard_optimizer_state = draw(0, 1) == 1;
        const std::string checkpointing[] = {"none", "each", "contiguous", "group_2", "group_3", "selective"};
        parallel.activation_checkpointing = checkpointing[draw(0, 5)];
        parallel.offload_activations = draw(0, 1) == 1;
        parallel.activation_loading_horizon = draw(1, 5);
        const std::string name = fmt::format(
            "plan {}: for {}, {}, pp {}, {} chunks a stage, tp {}, rdp {}, m {}, K {}, {}, {}, horizon {}", i,
            word_of(parallel.optimize), word_of(parallel.pipeline), parallel.pipeline_parallel_degree,
            parallel.virtual_pipeline_degree, tp, rdp, m, *parallel.active_microbatches,
            parallel.shard_optimizer_state ? "sharded optimizer states" : "whole optimizer states",
            parallel.activation_checkpointing, parallel.offload_activations ? parallel.activation_loading_horizon : 0);
        SCOPED_TRACE(name);
        ++drawn[word_of(parallel.pipeline)];
        ASSERT_EQ(run(job, ranks(job, rdp), {.plan = {}, .executor = random_delays(random())}), reference);
    }
    EXPECT_EQ(drawn.size(), 3u);
}

class Mutants : public AnyPlan {
  protected:
    /// Every schedule; tied and not; tensor ranks, with rows whole and sharded, and replicas; sharded optimizer states.
    std::vector<std::pair<runtime::Job, int>> jobs() const {
        std::vector<std::pair<runtime::Job, int>> list;
        const auto add = [&](PipelineSchedule schedule, int pp, int chunks, int m, int bound,
                             bool tied) -> runtime::Job& {
            runtime::Job job = this->job(std::max(4, pp * chunks));
            job.parallel.pipeline = schedule;
            job.parallel.pipeline_parallel_degree = pp;
            job.parallel.virtual_pipeline_degree = chunks;
            job.parallel.microbatches = m;
            job.parallel.active_microbatches = bound;
            job.training.global_batch_size = m;
            testing::change_model(job, [&](auto& model) { model.tie_word_embeddings = tied; });
            return list.emplace_back(job, pp).first;
        };
        add(PipelineSchedule::simple, 3, 1, 4, 4, true);
        add(PipelineSchedule::interleaved, 3, 1, 6, 4, true);
        add(PipelineSchedule::interleaved, 4, 1, 5, 2, false);
        add(PipelineSchedule::interleaved, 2, 3, 5, 4, true);
        add(PipelineSchedule::zero_bubble, 3, 1, 5, 3, true);
        add(PipelineSchedule::zero_bubble, 2, 1, 4, 4, false);
        add(PipelineSchedule::zero_bubble, 2, 1, 4, 2, true).parallel.activation_checkpointing = "group_2";
        auto& job = add(PipelineSchedule::interleaved, 2, 2, 4, 4, true);
        job.parallel.tensor_parallel_degree = 2;
        job.training.global_batch_size = 8;
        list.back().second = 8;
        auto& rows = add(PipelineSchedule::zero_bubble, 2, 1, 4, 4, true);
        rows.parallel.tensor_parallel_degree = 2;
        rows.parallel.optimize = partition::Optimize::memory;
        list.back().second = 4;
        auto& sharded = add(PipelineSchedule::interleaved, 2, 2, 4, 4, true);
        sharded.parallel.shard_optimizer_state = true;
        sharded.parallel.activation_checkpointing = "each";
        sharded.parallel.offload_activations = true;
        sharded.parallel.activation_loading_horizon = 1;
        sharded.training.global_batch_size = 8;
        list.back().second = 4;
        return list;
    }
};

TEST_F(Mutants, AreRefusedOrHarmless) {
    constexpr int kMutants = 12'000;
    std::mt19937_64 random(testing::seed());
    const auto jobs = this->jobs();
    std::vector<partition::Plan> plans;
    std::vector<std::string> expected;
    for (const auto& [job, world_size] : jobs) {
        plans.push_back(runtime::plan_of(job, world_size));
        expected.push_back(run(job, world_size));
    }
    int made = 0, executed = 0;
    while (made < kMutants) {
        const std::size_t which = random() % jobs.size();
        partition::Plan mutant = plans[which];
        const std::string what = partition::testing::Mutator(mutant.training, random).mutate();
        if (what.empty() || mutant.training == plans[which].training) continue;
        ++made;
        if (!partition::check(mutant).empty()) continue;
        ++executed;
        SCOPED_TRACE(fmt::format("job {}, mutant {}: {}", which, made, what));
        std::string text;
        ASSERT_NO_THROW(text = run(jobs[which].first, jobs[which].second, {.plan = mutant, .executor = {}}));
        ASSERT_EQ(text, expected[which]);
    }
    std::cout << fmt::format("{} mutants: {} refused, {} executed with the same bits\n", made, made - executed,
                             executed);
    // Otherwise the execution, or the checker, would prove nothing.
    EXPECT_GT(executed, made / 50);
    EXPECT_GT(made - executed, made / 2);
}

/// Single changes of saved plans: each is refused, or changes no number.
class FileMutants : public Mutants {
  protected:
    using Json = testing::JsonMutator::Json;

    struct Original {
        runtime::Job job;
        int ranks;
        runtime::SavedPlan saved;
        std::string numbers;
    };
    struct Fates {
        int unread = 0, unproven = 0, executed = 0;
    };

    static Original original(const runtime::Job& job, int ranks) {
        return {job, ranks, {runtime::plan_of(job, ranks), runtime::graph_of(job, ranks)}, run(job, ranks)};
    }

    /// The plan in a file whose hashes are made to fit: a hand that knows how. Nothing where the reader refuses it all
    /// the same.
    static std::optional<runtime::SavedPlan> read(Json file) {
        for (int attempt = 0; attempt < 3; ++attempt) {
            std::istringstream text(file.dump());
            try {
                return runtime::plan_from_json(text, "mutant");
            } catch (const runtime::DataError& error) {
                const std::string what = error.what();
                EXPECT_TRUE(what.starts_with("mutant: ") && what.size() < 600) << what;
                for (const std::string of : {"plan", "model"}) {
                    const std::string mark = "the hash of the " + of + " is ";
                    if (const auto found = what.find(mark); found != std::string::npos)
                        (of == "plan" ? file["hash"] : file["model"]["hash"]) = what.substr(found + mark.size(), 16);
                }
                if (what.find("the hash of the ") == std::string::npos) return std::nullopt;
            }
        }
        throw std::logic_error("a plan that does not have the hash which its reader gives it");
    }

    static void refuse_or_run(const std::optional<runtime::SavedPlan>& mutant, const Original& original, Fates& fates) {
        if (!mutant) {
            ++fates.unread;
        } else if (!partition::check(mutant->plan, mutant->graph).empty() ||
                   !runtime::faults_of(mutant->plan, original.job, original.ranks).empty()) {
            ++fates.unproven;
        } else {
            ++fates.executed;
            std::string numbers;
            ASSERT_NO_THROW(numbers = run(original.job, original.ranks, {.plan = mutant->plan, .executor = {}}));
            ASSERT_EQ(numbers, original.numbers);
        }
    }

    /// Says what has become of them. A kind of fate that none had would leave its half of the promise untested.
    static void conclude(const std::string& what, const Fates& fates) {
        std::cout << fmt::format("{}: {} not read, {} not proven, {} executed with the same bits\n", what, fates.unread,
                                 fates.unproven, fates.executed);
        EXPECT_GT(fates.unproven, 0);
        EXPECT_GT(fates.executed, 0);
    }

    /// Every number, word and flag of the plan, those that its file leaves out too, changed by itself.
    static void change_each_value(const Original& original) {
        runtime::SavedPlan mutant = original.saved;
        Fates fates;
        partition::testing::for_each_value(mutant.plan, [&](const std::string& path, auto& value) {
            if (HasFatalFailure()) return;
            SCOPED_TRACE(path);
            const auto before = value;
            partition::testing::change(value);
            std::istringstream text(runtime::plan_to_json(mutant.plan, mutant.graph));
            const auto back = runtime::plan_from_json(text, path);
            ASSERT_EQ(back, mutant);
            refuse_or_run(back, original, fates);
            value = before;
        });
        conclude("values changed", fates);
    }

    /// Entries left out, doubled, exchanged; numbers one more or less; words of the same key elsewhere.
    void change_at_random(int mutants) const {
        std::mt19937_64 random(testing::seed());
        std::vector<Original> originals;
        std::vector<Json> files;
        for (const auto& [job, ranks] : jobs()) {
            const Original& added = originals.emplace_back(original(job, ranks));
            files.push_back(Json::parse(runtime::plan_to_json(added.saved.plan, added.saved.graph)));
            // What the file says twice would be refused for not agreeing, whatever the change.
            for (const char* part : {"training", "evaluation", "sampling"})
                for (Json& program : files.back()[part])
                    for (Json& buffer : program["buffers"]) buffer.erase("lifetime");
            ASSERT_EQ(read(files.back()), added.saved);
        }
        Fates fates;
        for (int made = 0; made < mutants && !HasFatalFailure();) {
            const std::size_t which = random() % originals.size();
            Json file = files[which];
            const std::string what = testing::JsonMutator(files[which], {"version", "hash"}, random).mutate(file);
            if (what.empty() || file == files[which]) continue;
            ++made;
            SCOPED_TRACE(fmt::format("job {}, mutant {}: {}", which, made, what));
            const auto mutant = read(file);
            if (mutant && *mutant != originals[which].saved) {
                std::istringstream text(file.dump());
                ASSERT_THROW(runtime::plan_from_json(text, "mutant"), runtime::DataError) << "its hash does not fit";
            }
            refuse_or_run(mutant, originals[which], fates);
        }
        conclude("changed files", fates);
        EXPECT_GT(fates.unread, 0);
    }
};

TEST_F(FileMutants, ASavedPlanExecutesToTheSameNumbers) {
    for (const auto& [job, ranks] : jobs()) {
        const Original of_job = original(job, ranks);
        std::istringstream text(runtime::plan_to_json(of_job.saved.plan, of_job.saved.graph));
        const auto back = runtime::plan_from_json(text, "plan.json");
        EXPECT_EQ(back, of_job.saved);
        EXPECT_EQ(partition::hash_of(back.plan), partition::hash_of(of_job.saved.plan));
        EXPECT_EQ(run(job, ranks, {.plan = back.plan, .executor = {}}), of_job.numbers);
    }
}

TEST_F(FileMutants, APlanOfAnotherJobIsNotExecuted) {
    const auto [job, ranks] = jobs().front();
    const auto refused = [&, job = job, ranks = ranks](const std::string& why, const auto& change) {
        runtime::Job other = job;
        change(other);
        const auto faults = runtime::faults_of(runtime::plan_of(other, ranks), job, ranks);
        ASSERT_FALSE(faults.empty());
        EXPECT_EQ(faults.front(), why);
        try {
            run(job, ranks, {.plan = runtime::plan_of(other, ranks), .executor = {}});
            FAIL() << why;
        } catch (const std::exception& error) {
            EXPECT_NE(std::string(error.what()).find("the plan cannot be executed: " + why), std::string::npos)
                << error.what();
        }
    };
    refused("its microbatches are 2, the job's 4",
            [](runtime::Job& other) { other.parallel.active_microbatches = other.parallel.microbatches = 2; });
    refused("its pipeline degree is 1, the job's 3", [](runtime::Job& other) {
        other.parallel.pipeline_parallel_degree = 1;
        other.training.global_batch_size = 12;
    });
    refused("the chunks hold 7 modules, the model has 6",
            [](runtime::Job& other) { testing::change_model(other, [](auto& model) { model.n_layer = 5; }); });
}

TEST_F(FileMutants, EachValueOfASmallPlan) {
    auto [job, ranks] = jobs().at(4);  // zero_bubble, tied
    job.parallel.pipeline_parallel_degree = ranks = 2;
    job.training.global_batch_size = job.parallel.microbatches = 2;
    job.parallel.active_microbatches = 2;
    change_each_value(original(job, ranks));
}

TEST_F(FileMutants, AtRandom) { change_at_random(600); }

using FileMutantsSlow = FileMutants;
TEST_F(FileMutantsSlow, EachValueOfAllPlans) {
    for (const auto& [job, ranks] : jobs()) change_each_value(original(job, ranks));
}
TEST_F(FileMutantsSlow, AtRandom) { change_at_random(20'000); }

}  // namespace
}  // namespace smp
