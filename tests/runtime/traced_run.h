// A short training whose steps are traced.
#pragma once

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"

namespace smp::testing {

struct TracedRun {
    partition::Plan plan;
    partition::ModuleGraph graph;
    std::vector<partition::StepTimes> steps;
};

/// Trains `steps` steps and keeps the times of all but the first. Throws std::logic_error where times are of another
/// step, not of all ranks, or not on rank 0 alone.
inline TracedRun traced_run(const runtime::Job& job, std::vector<std::unique_ptr<comms::Communicator>> worlds,
                            int steps, const runtime::TrainerOptions& options = {}) {
    TracedRun traced;
    on_ranks(std::move(worlds), [&](comms::Communicator& world) {
        const bool is_first = world.rank() == 0;
        runtime::Trainer trainer(job, world, options);
        trainer.step();
        for (int step = 1; step < steps; ++step) {
            partition::StepTimes times;
            trainer.step(times);
            if (times.step != step + 1) throw std::logic_error("times of another step");
            if (times.ranks.size() != (is_first ? static_cast<std::size_t>(world.size()) : 0))
                throw std::logic_error("times of other ranks");
            if (is_first) traced.steps.push_back(times);
        }
        if (!is_first) return;
        traced.plan = trainer.plan();
        traced.graph = trainer.graph();
    });
    return traced;
}

}  // namespace smp::testing
