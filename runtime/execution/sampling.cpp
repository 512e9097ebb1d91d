#include "runtime/execution/sampling.h"

#include <array>

#include <ATen/ops/full.h>

#include "runtime/execution/batch_reader.h"

namespace smp::runtime {

namespace {

/// Wants the logits of one row, not a loss.
class NextToken final : public ForwardConsumer {
  public:
    explicit NextToken(const TextSampler& text) : text_(text) {}

    bool takes_head(models::Segment& head, const at::Tensor& input) override {
        drawn_ = text_.draw(head.logits(input, text_.position(), 1));
        return true;
    }
    /// 0 where the last module does not live.
    std::int64_t drawn() const { return drawn_; }

  private:
    const TextSampler& text_;
    std::int64_t drawn_ = 0;
};

}  // namespace

void draw_text(TextSampler& text, std::int64_t length, const partition::Plan& plan, const partition::Coordinate& at,
               Executor& executor, comms::Communicator& world) {
    const bool takes_inputs = token_needs(plan, at).inputs;
    const int source = partition::rank_of(plan.topology, {.pp = plan.chunks.back().stage.number(), .tp = 0, .rdp = 0});
    while (!text.complete()) {
        std::array<models::Microbatch, 1> batch;
        batch[0].sequences = 1;
        batch[0].length = length;
        batch[0].training = false;
        if (takes_inputs) batch[0].inputs = text.context();
        NextToken next(text);
        executor.run({.program = plan.sampling[at.stage()], .microbatches = batch, .consumer = &next});
        const at::Tensor shared = at::full({1}, next.drawn(), at::kLong);
        world.broadcast(shared, source).wait();
        text.append(shared.item<std::int64_t>());
    }
}

}  // namespace smp::runtime
