#include "runtime/execution/non_finite_report.h"

#include <cmath>
#include <cstddef>
#include <optional>

#include <fmt/format.h>

#include "runtime/agreement/agreement.h"
#include "runtime/update/non_finite.h"
#include "runtime/update/non_finite_marks.h"

namespace smp::runtime {

namespace {

/// Looks for the first module whose output is not finite.
class FirstNonFinite final : public ForwardConsumer {
  public:
    FirstNonFinite(const RankGroups& groups, int modules) : marks_(groups, static_cast<std::size_t>(modules)) {}

    void made(int module, const at::Tensor& output) override {
        if (output.defined()) marks_.look(static_cast<std::size_t>(module), output);
    }
    std::optional<int> first() const {
        const auto first = marks_.first();
        return first ? std::optional(static_cast<int>(*first)) : std::nullopt;
    }

  private:
    NonFiniteMarks marks_;
};

}  // namespace

std::string NonFiniteReport::skipped(const TrainingState& before, const TrainingState& after) const {
    const auto place = NonFiniteSearch(rank_.groups, rank_.stage, *job_.model.spec).in_gradients(rank_.update.ranges());
    return fmt::format(
        "step {} made no update: {}, added up over replicas, overflowed in fp16 on rank {} with the loss scale {}, "
        "which is now {}",
        after.steps, place ? place->where : "a gradient", place ? describe(place->rank) : "?", before.scale(),
        after.scale());
}

void NonFiniteReport::give_up(const TrainingState& before, const TrainingState& after) const {
    const std::string last = skipped(before, after);
    throw_agreed(fmt::format("the last {} steps overflowed in fp16 with the least loss scale that there is "
                             "(training.loss_scale.minimum = {}), so nothing is learnt any more; a lower "
                             "training.learning_rate, parallel.bf16 or a lower minimum may help. {}",
                             after.loss_scale->at_minimum, before.scale(), last),
                 2, 0);
}

void NonFiniteReport::refuse(const TrainingState& before, double loss,
                             std::span<const models::Microbatch> batch) const {
    const NonFiniteSearch search(rank_.groups, rank_.stage, *job_.model.spec);
    std::optional<NonFinite> place = search.in_values();
    if (!place) {
        FirstNonFinite outputs(rank_.groups, job_.model.spec->module_count());
        executor_.run(
            {.program = plan_.evaluation[rank_.groups.at.stage()], .microbatches = batch, .consumer = &outputs});
        place = search.in_outputs(outputs.first());
    }
    if (!place) place = search.in_gradients(rank_.update.ranges());
    const int head = partition::rank_of(plan_.topology, {.pp = plan_.chunks.back().stage.number(), .tp = 0, .rdp = 0});
    if (!place) place = {.where = "the logits of " + models::module_names(*job_.model.spec).back(), .rank = head};
    throw_agreed(
        fmt::format("step {}: the {} not finite, which first shows in {} on rank {}; a lower training.learning_rate, a "
                    "longer training.warmup_steps or another precision may help",
                    before.steps + 1, std::isfinite(loss) ? "gradients are" : "loss is", place->where,
                    describe(place->rank)),
        2, place->rank);
}

std::string NonFiniteReport::describe(int rank) const {
    return fmt::format("{} ({})", rank, partition::to_string(partition::coordinate_of(plan_.topology, rank)));
}

}  // namespace smp::runtime
