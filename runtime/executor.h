// Executes a rank's program: the list of actions that the plan gives it, in order.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/segment.h"
#include "partition/plan.h"
#include "runtime/rank_groups.h"
#include "runtime/stage.h"

namespace smp::runtime {

/// What a program needs done that is not a matter of one chunk. Each is called where the program has that action.
struct StepDuties {
    std::function<void()> reduce_gradients;
    std::function<void()> optimizer_step;
    /// Where set, called with the last module and its input in place of its forward: text sampling wants logits, not a
    /// loss.
    std::function<void(models::Segment& head, const at::Tensor& input)> at_head;
};

class Executor {
  public:
    /// `plan`, `stage` and `groups` must outlive the executor.
    Executor(const partition::Plan& plan, const std::vector<partition::SharedParameter>& shared, Stage& stage,
             RankGroups& groups);

    /// Runs `program` once over `microbatches` (element i is microbatch i; loss_sum is written where the last module
    /// lives). Collective over the world. Throws CommunicationError, and std::logic_error if the program breaks a bound
    /// of the plan.
    void run(const partition::RankProgram& program, std::span<models::Microbatch> microbatches,
             const StepDuties& duties);

    /// The most microbatches that were active on this rank at one moment (from the start of their first forward to the
    /// end of their last backward), so far.
    int peak_active() const { return peak_active_; }

  private:
    struct Slot {
        at::Tensor tensor;                   // boundary tensors
        std::vector<models::Stash> stashes;  // of a chunk's segments
    };
    struct Run;

    void perform(Run& run, const partition::Action& action);
    void forward(Run& run, const partition::Action& action);
    void backward(Run& run, const partition::Action& action);
    void send(Run& run, const partition::Action& action);
    void receive(Run& run, const partition::Action& action);
    void sum_tied_gradients(Run& run, const partition::Action& action);
    comms::Communicator& channel(partition::Channel channel);

    const partition::Plan& plan_;
    const std::vector<partition::SharedParameter>& shared_;
    Stage& stage_;
    RankGroups& groups_;
    int peak_active_ = 0;
};

}  // namespace smp::runtime
