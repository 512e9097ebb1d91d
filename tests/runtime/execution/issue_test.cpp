// The executor's order over a mock backend: operations are logged and end when the test lets them; no tensors, no
// threads. If these fail, an action begins before what it waits for has ended, or what a rank holds depends on timing.
#include "runtime/execution/issue.h"

#include <algorithm>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partition/foresight/memory_peaks.h"
#include "tests/partition/small_jobs.h"

namespace smp::runtime {
namespace {

using partition::Action;
using partition::BufferId;
using partition::EventId;
using partition::MemoryCategory;
using partition::RankProgram;
using ::testing::HasSubstr;

namespace small = partition::testing;

/// Of a rank without others.
class Alone final : public comms::SideChannel {
  public:
    int rank() const override { return 0; }
    int size() const override { return 1; }
    std::string seat(int) const override { return ""; }
    void send(int, const std::string&) noexcept override {}
    std::optional<Note> receive() noexcept override { return std::nullopt; }
    bool has_news() noexcept override { return false; }
};

/// Waits by looking again, with nobody else to give the processor to.
class MockProgress final : public comms::Progress {
  public:
    MockProgress() : Progress({std::chrono::minutes(1)}, std::make_shared<comms::Inquiry>(std::make_unique<Alone>())) {}

  protected:
    void rest(std::uint64_t, comms::Clock::duration, comms::Clock::time_point) override {}
};

/// Ends after a number of steps.
class MockOperation final : public comms::Operation {
  public:
    MockOperation(int steps, std::string name, std::set<std::string>& ended)
        : steps_(steps), name_(std::move(name)), ended_(ended) {}
    bool advance() override {
        if (steps_-- > 0) return false;
        ended_.insert(name_);
        return true;
    }
    std::string describe() const override { return name_; }

  private:
    int steps_;
    std::string name_;
    std::set<std::string>& ended_;
};

class MockBackend final : public Performer {
  public:
    MockBackend(const RankProgram& program, std::uint64_t seed) : program_(program), random_(seed) {}

    std::vector<std::string> log;
    partition::MemoryBytes most = {};
    std::shared_ptr<MockProgress> progress = std::make_shared<MockProgress>();

    comms::Work perform(const Action& action, const std::function<void()>&) override {
        for (const EventId event : action.waits) EXPECT_TRUE(ended_.contains(signaller_of(event))) << name_of(action);
        log.push_back(name_of(action));
        hold(action.writes, 1);
        for (std::size_t c = 0; c < most.size(); ++c) most[c] = std::max(most[c], held_[c]);
        hold(action.consumes, -1);
        if (!partition::facts_of(action.kind).is_posted()) {
            ended_.insert(name_of(action));
            return {};
        }
        const auto steps = static_cast<int>(random_() % 40);
        return progress->begin(std::make_shared<MockOperation>(steps, name_of(action), ended_));
    }
    void free(BufferId buffer) override {
        log.push_back("free " + name_of(program_.buffers[buffer]));
        EXPECT_TRUE(freed_.insert(buffer).second) << log.back() << " twice";
        hold({buffer}, -1);
    }

  private:
    std::string signaller_of(EventId event) const {
        const auto& actions = program_.actions;
        return name_of(*std::ranges::find(actions, event, &Action::signals));
    }
    void hold(const std::vector<BufferId>& buffers, int sign) {
        for (const BufferId id : buffers)
            if (is_passing(program_.buffers[id]))
                held_[static_cast<std::size_t>(category_of(program_.buffers[id]))] += sign * program_.buffers[id].bytes;
    }

    const RankProgram& program_;
    std::mt19937_64 random_;
    std::set<std::string> ended_;
    std::set<BufferId> freed_;
    partition::MemoryBytes held_ = {};
};

/// Programs with every kind of action.
std::vector<RankProgram> programs() {
    std::vector<partition::Plan> plans = {
        small::plan_of({.stages = 3, .microbatches = 5, .tied = true, .evaluation_microbatches = 6}),
        small::plan_of({.stages = 2, .microbatches = 4, .schedule = partition::PipelineSchedule::zero_bubble})};
    partition::ParallelOptions options = small::options_of({.stages = 2, .microbatches = 4, .chunks_per_stage = 2});
    options.tensor_parallel_degree = 2;
    options.shard_optimizer_state = true;
    options.activation_checkpointing = "each";
    options.offload_activations = true;
    options.activation_loading_horizon = 1;
    plans.push_back(make_plan(small::large_chain(9, true), options, {.pp = 2, .tp = 2, .rdp = 2}, 3));
    std::vector<RankProgram> all;
    for (const partition::Plan& plan : plans)
        for (const auto* programs : {&plan.training, &plan.evaluation, &plan.sampling})
            all.insert(all.end(), programs->begin(), programs->end());
    return all;
}

TEST(Issue, ActsInTheOrderOfTheListBehindWhatIsWaitedForWhateverTheTiming) {
    for (const RankProgram& program : programs()) {
        std::vector<std::string> first;
        for (const std::uint64_t seed : {1, 2, 3}) {
            MockBackend backend(program, seed);
            issue(program, backend, *backend.progress);
            std::vector<std::string> acted;
            for (const std::string& line : backend.log)
                if (!line.starts_with("free ")) acted.push_back(line);
            ASSERT_EQ(acted.size(), program.actions.size());
            for (const partition::ActionId i : program.actions.ids())
                ASSERT_EQ(acted[i.index()], name_of(program.actions[i]));
            EXPECT_TRUE(backend.progress->idle());
            // What is given back when does not depend on when operations end.
            if (seed == 1) first = backend.log;
            EXPECT_EQ(backend.log, first);
        }
    }
}

TEST(Issue, HoldsWhatIsForecast) {
    for (const RankProgram& program : programs()) {
        MockBackend backend(program, 4);
        issue(program, backend, *backend.progress);
        const auto forecast = partition::memory_peaks(program).of_category;
        for (const auto category : {MemoryCategory::boundaries, MemoryCategory::checkpoints, MemoryCategory::offloaded,
                                    MemoryCategory::activations, MemoryCategory::logits}) {
            const auto c = static_cast<std::size_t>(category);
            EXPECT_EQ(backend.most[c], forecast[c]) << word_of(category);
        }
    }
}

TEST(Issue, NamesWhatNobodyWaitsForAndWhatIsToCome) {
    const RankProgram sound = small::plan_of({.stages = 2, .microbatches = 3}).training.front();
    const auto refusal = [&](const auto& change) -> std::string {
        RankProgram program = sound;
        change(program);
        MockBackend backend(program, 5);
        try {
            issue(program, backend, *backend.progress);
        } catch (const std::logic_error& error) {
            return error.what();
        }
        return "nothing was refused";
    };
    EXPECT_EQ(refusal([](RankProgram&) {}), "nothing was refused");
    EXPECT_THAT(refusal([](RankProgram& p) { p.actions.front().waits.push_back(EventId(p.events - 1)); }),
                HasSubstr("which is to come"));
    const auto send = [](RankProgram& p) -> Action& {
        return *std::ranges::find(p.actions, partition::ActionKind::send, &Action::kind);
    };
    EXPECT_THAT(refusal([&](RankProgram& p) { send(p).signals = partition::kNone; }),
                HasSubstr("is waited for by nobody"));
    EXPECT_THAT(refusal([&](RankProgram& p) {
                    const EventId event = send(p).signals;
                    for (Action& action : p.actions) std::erase(action.waits, event);
                }),
                HasSubstr("is waited for by nobody"));
    EXPECT_THAT(refusal([&](RankProgram& p) { send(p).signals = p.actions.front().signals; }),
                HasSubstr("has signalled"));
}

// Times are taken where an operation is found to have ended, not where it is waited for.
TEST(Issue, TakesTheTimesOfAllActions) {
    const RankProgram program = small::plan_of({.stages = 2, .microbatches = 3}).training.back();
    MockBackend backend(program, 6);
    const auto times = std::make_shared<partition::ActionTimes>();
    issue(program, backend, *backend.progress, times);
    ASSERT_EQ(times->size(), program.actions.size());
    for (const partition::ActionTime& time : *times) {
        EXPECT_GE(time.start, time.reached);
        EXPECT_GE(time.end, time.start);
    }
}

}  // namespace
}  // namespace smp::runtime
