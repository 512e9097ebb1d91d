// What a step says whose loss or gradients are not finite: where that first shows.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/segment.h"
#include "partition/plan/plan.h"
#include "runtime/execution/executor.h"
#include "runtime/job/job.h"
#include "runtime/state/training_state.h"

namespace smp::runtime {

class NonFiniteReport {
  public:
    /// Of the rank whose parts those are; all must outlive it.
    NonFiniteReport(const partition::Plan& plan, const Job& job, const RankParts& rank, Executor& executor)
        : plan_(plan), job_(job), rank_(rank), executor_(executor) {}

    /// A sentence about a step that made no update because its gradients, as they lie in the stage, overflowed.
    /// Collective.
    std::string skipped(const TrainingState& before, const TrainingState& after) const;

    /// Ends the job, where one step after another overflows with the least loss scale: throws an agreed failure.
    /// Collective.
    [[noreturn]] void give_up(const TrainingState& before, const TrainingState& after) const;

    /// Ends the job, where no loss scale could mend it: throws an agreed failure that names the first place. The values
    /// must be those of the step, so that its forward can be run again. Collective.
    [[noreturn]] void refuse(const TrainingState& before, double loss, std::span<const models::Microbatch> batch) const;

  private:
    std::string describe(int rank) const;

    const partition::Plan& plan_;
    const Job& job_;
    const RankParts rank_;
    Executor& executor_;
};

}  // namespace smp::runtime
