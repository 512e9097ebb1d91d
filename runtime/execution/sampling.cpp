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

/// Wants the logits of all rows.
class EveryLogit final : public ForwardConsumer {
  public:
    explicit EveryLogit(std::int64_t rows) : rows_(rows) {}

    bool takes_head(models::Segment& head, const at::Tensor& input) override {
        logits_ = head.logits(input, 0, rows_);
        return true;
    }
    const at::Tensor& logits() const { return logits_; }

  private:
    std::int64_t rows_;
    at::Tensor logits_;
};

/// A forward pass over tokens [1, T], which ranks without the first module need not have.
void run_forward(const at::Tensor& tokens, std::int64_t length, const partition::Plan& plan,
                 const partition::Coordinate& at, Executor& executor, ForwardConsumer& consumer) {
    std::array<models::Microbatch, 1> batch;
    batch[0].sequences = 1;
    batch[0].length = length;
    batch[0].training = false;
    if (token_needs(plan, at).inputs) batch[0].inputs = tokens;
    executor.run({.program = plan.sampling[at.stage()], .microbatches = batch, .consumer = &consumer});
}

}  // namespace

void draw_text(TextSampler& text, std::int64_t length, const partition::Plan& plan, const partition::Coordinate& at,
               Executor& executor, comms::Communicator& world, const std::function<void(std::int64_t)>& drawn) {
    const int source = partition::rank_of(plan.topology, {.pp = plan.chunks.back().stage.number(), .tp = 0, .rdp = 0});
    while (!text.complete()) {
        NextToken next(text);
        run_forward(text.context(), length, plan, at, executor, next);
        const at::Tensor shared = at::full({1}, next.drawn(), at::kLong);
        world.broadcast(shared, source).wait();
        text.append(shared.item<std::int64_t>());
        if (drawn) drawn(text.drawn().back());
    }
}

at::Tensor logits_of(const at::Tensor& tokens, const partition::Plan& plan, const partition::Coordinate& at,
                     Executor& executor) {
    EveryLogit consumer(tokens.numel());
    run_forward(tokens.view({1, -1}), tokens.numel(), plan, at, executor, consumer);
    return consumer.logits();
}

}  // namespace smp::runtime
