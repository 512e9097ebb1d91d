// Executes a rank's program: the list of actions that the plan gives it, in order.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "comms/device/copy_stream.h"
#include "comms/device/join_times.h"
#include "models/segment.h"
#include "partition/foresight/action_times.h"
#include "partition/plan/plan.h"
#include "runtime/execution/forward_consumer.h"
#include "runtime/execution/issue.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/state/training_state.h"
#include "runtime/update/stage_exchange.h"
#include "runtime/update/update.h"

namespace smp::runtime {

/// What actions are done with on one rank. All of it must outlive the executor.
struct RankParts {
    Stage& stage;
    RankGroups& groups;
    MemoryMeter& meter;  // is told what actions allocate: what they leave by its buffer's category, all else as `other`
    StageExchange& exchange;
    Update& update;
};

struct ExecutorOptions {
    /// Called ahead of each action, before its waits. Tests delay actions here.
    std::function<void(const partition::Action&)> before_action = {};
    comms::CopyOptions copies = {};       // to and from host memory
    std::size_t most_timed_joins = 4096;  // of a step on CUDA: see JoinTimes
};

/// One run of a program.
struct Run {
    const partition::RankProgram& program;
    std::span<const models::Microbatch> microbatches;  // element i is microbatch i; tokens on the CPU
    /// Before the step: what its update goes by. Needed where the program has one.
    const TrainingState* state = nullptr;
    ForwardConsumer* consumer = nullptr;  // of a forward-only program; null: nobody asks
    /// Where not null, it gets one entry an action.
    std::shared_ptr<partition::ActionTimes> times = nullptr;
    /// Called when a device has been given all of the program and is at work: what the host can do meanwhile. Not on
    /// the CPU.
    std::function<void()> meanwhile = {};
};

struct RunResult {
    StepLosses losses;                   // of the last module, where it lives, else 0
    std::optional<UpdateResult> update;  // where the program has one
    /// By the rank's thread. On CUDA by its device, of programs with an update: none where ranks share a device, or
    /// where it joins at too many places.
    std::optional<IssueTime> time;
};

class Executor {
  public:
    Executor(const partition::Plan& plan, const std::vector<partition::SharedParameter>& shared, const RankParts& rank,
             ExecutorOptions options = {});

    /// Collective over the world. Throws CommunicationError, and std::logic_error, which names the action, where the
    /// program breaks a bound of the plan, uses what is not there, leaves a message in flight at its end or asks for
    /// what the run does not have; what is in flight then stays so, and the world should be aborted.
    RunResult run(const Run& run);

    /// From now on no run has a time on CUDA, and none pays for it. Returns for how many joins at most runs had one
    /// until now; none where they had none. Local.
    std::optional<std::size_t> stop_timing_joins() {
        if (std::exchange(join_times_, nullptr) == nullptr) return std::nullopt;
        return options_.most_timed_joins;
    }

    /// The most microbatches that were active on this rank at one moment (from the start of their first forward to the
    /// end of the last backward, or of its input part where it is split), so far.
    int peak_active() const { return peak_active_; }

  private:
    struct Execution;

    comms::Work perform(Execution& execution, const partition::Action& action, const std::function<void()>& on_copied);
    /// Those of the action's chunk, or of its group.
    std::span<const std::unique_ptr<models::Segment>> segments_of(const partition::Action& action) const;
    int first_module(const partition::Action& action) const;  // of them, in the graph
    /// Whether the last module of the model is among them.
    bool is_at_end(const partition::Action& action) const;
    void forward(Execution& execution, const partition::Action& action);
    void backward(Execution& execution, const partition::Action& action);
    void backward_weight(Execution& execution, const partition::Action& action);
    /// To or from host memory.
    comms::Work copy(Execution& execution, const partition::Action& action, const std::function<void()>& on_copied);
    comms::Work send(Execution& execution, const partition::Action& action);
    comms::Work receive(Execution& execution, const partition::Action& action);
    void sum_tied_gradients(Execution& execution, const partition::Action& action);
    void update(Execution& execution, const partition::Action& action);

    const partition::Plan& plan_;
    const std::vector<partition::SharedParameter>& shared_;
    Stage& stage_;
    RankGroups& groups_;
    MemoryMeter& meter_;
    StageExchange& exchange_;
    Update& update_;
    ExecutorOptions options_;
    int peak_active_ = 0;
    // Where checkpointed inputs are offloaded: as many pieces of host memory as the plan ever uses at once, of one
    // block.
    std::vector<at::Tensor> host_ring_;
    std::unique_ptr<comms::CopyStream> copies_out_, copies_in_;
    std::unique_ptr<comms::JoinTimes> join_times_;  // where the rank has a CUDA device of its own
};

}  // namespace smp::runtime
