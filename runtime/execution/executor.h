// Executes a rank's program: the list of actions that the plan gives it, in order.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comms/device/copy_stream.h"
#include "models/segment.h"
#include "partition/foresight/action_times.h"
#include "partition/plan/plan.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"

namespace smp::runtime {

/// What a program needs done that is not a matter of one chunk's segments. Each is called where the program has that
/// action.
struct StepDuties {
    /// Starts the reduction of a chunk's gradients.
    std::function<comms::Work(partition::ChunkId chunk)> reduce_gradients;
    /// Starts the gathering of a chunk's parameters from the ranks that have updated them.
    std::function<comms::Work(partition::ChunkId chunk)> gather_parameters;
    /// `losses`: what run() will return.
    std::function<void(std::span<const models::Loss> losses)> optimizer_step;
    /// Where set, called after each forward with the module's index in the graph and its boundary tensor (undefined
    /// from the last one).
    std::function<void(int module, const at::Tensor& output)> after_forward;
    /// Where set, called with the last module and its input in place of its forward: text sampling wants logits, not a
    /// loss.
    std::function<void(models::Segment& head, const at::Tensor& input)> at_head;
};

struct ExecutorOptions {
    /// Called ahead of each action, before its waits. Tests delay actions here.
    std::function<void(const partition::Action&)> before_action;
    comms::CopyOptions copies;  // to and from host memory
};

class Executor {
  public:
    /// `plan`, `stage`, `groups` and `meter` must outlive the executor. What actions allocate is told to the meter:
    /// what they leave by its buffer's category, all else as `other`.
    Executor(const partition::Plan& plan, const std::vector<partition::SharedParameter>& shared, Stage& stage,
             RankGroups& groups, MemoryMeter& meter, ExecutorOptions options = {});

    /// Runs `program` once over `microbatches` (element i is microbatch i). Returns their losses: of the last module,
    /// where it lives, else 0. Where `times` is not null, it gets one entry an action. Collective over the world.
    /// Throws CommunicationError, and std::logic_error, which names the action, where the program breaks a bound of the
    /// plan, uses what is not there, leaves a message in flight at its end or asks for what no program may; what is in
    /// flight then stays so, and the world should be aborted.
    std::vector<models::Loss> run(const partition::RankProgram& program,
                                  std::span<const models::Microbatch> microbatches, const StepDuties& duties,
                                  const std::shared_ptr<partition::ActionTimes>& times = nullptr);

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
    comms::Communicator& channel(partition::Channel channel);

    const partition::Plan& plan_;
    const std::vector<partition::SharedParameter>& shared_;
    Stage& stage_;
    RankGroups& groups_;
    MemoryMeter& meter_;
    ExecutorOptions options_;
    int peak_active_ = 0;
    // Where checkpointed inputs are offloaded: as many pieces of host memory as the plan ever uses at once.
    std::vector<at::Tensor> host_ring_;
    std::optional<comms::CopyStream> copies_out_, copies_in_;
};

}  // namespace smp::runtime
