// A plan that is changed in one place, for the tests that every change of it is refused in words.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>

#include "partition/check/checker.h"
#include "tests/partition/small_jobs.h"

namespace smp::partition::testing {

/// Three stages, K above p, tied: every kind of action and message.
class Mutants : public ::testing::Test {
  protected:
    Plan plan_ = plan_of({.stages = 3, .microbatches = 6, .active = 4, .tied = true, .evaluation_microbatches = 6});

    RankProgram& stage(int index) { return plan_.training[StageId(index)]; }
    Table<ActionId, Action>& actions(int index) { return stage(index).actions; }
    ActionId position(int index, const std::string& name) {
        const auto& list = actions(index);
        const auto found = std::find_if(list.begin(), list.end(), [&](const Action& a) { return name_of(a) == name; });
        if (found == list.end()) throw std::logic_error("the test looks for an action that is not there: " + name);
        return ActionId(found - list.begin());
    }
    Action& action(int index, const std::string& name) { return actions(index)[position(index, name)]; }
    void drop(int index, const std::string& name) {
        actions(index).erase(actions(index).begin() + position(index, name).number());
    }
    /// Lets an event go, so that what is tested is not refused for its form already.
    void forget_event(int index, EventId event) {
        for (Action& other : actions(index)) std::erase(other.waits, event);
    }

    /// The same for the event of one action, which then has none.
    void forget_event_of(int index, const std::string& name) {
        forget_event(index, action(index, name).signals);
        action(index, name).signals = kNone;
    }

    /// One sentence names both.
    void expect_refusal(const std::string& one, const std::string& other, const std::string& why) {
        using ::testing::HasSubstr;
        EXPECT_THAT(check(plan_), ::testing::Contains(::testing::AllOf(HasSubstr("training: "), HasSubstr(one),
                                                                       HasSubstr(other), HasSubstr(why))));
    }
};

}  // namespace smp::partition::testing
