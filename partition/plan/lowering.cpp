#include "partition/plan/lowering.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "partition/plan/action_use.h"
#include "partition/plan/chunk_parts.h"
#include "partition/plan/messages.h"
#include "partition/plan/offloading.h"
#include "partition/plan/stage_buffers.h"

namespace smp::partition {
namespace {

/// Builds one stage's program. Until the end an action waits for actions; only then are events numbered.
class ProgramBuilder {
  public:
    /// `messages` are those this stage sends or receives, in the order of messages_of.
    ProgramBuilder(const ModuleGraph& graph, const Chunks& chunks, const Table<ChunkId, FlatSection>& sections,
                   StageId stage, int microbatches, const LoweringOptions& options, std::span<const Message> messages)
        : graph_(graph),
          chunks_(chunks),
          sections_(sections),
          stage_(stage),
          last_microbatch_(microbatches - 1),
          options_(options),
          messages_(messages),
          action_of_(messages.size()),
          buffers_(graph, chunks, sections, stage, microbatches, options.training) {}

    RankProgram build(std::span<const Computation> steps) {
        const auto end = static_cast<int>(steps.size());
        if (options_.sharded) add_gathers(steps);
        if (options_.training && options_.loading_horizon > 0)
            offloading_ = choose_offloads(chunks_, steps, options_.loading_horizon);
        std::vector<std::vector<const Message*>> made(steps.size() + 1), posted(steps.size() + 1),
            left(steps.size() + 1), used(steps.size() + 1);
        for (const Message& m : messages_) {
            if (m.from_stage == stage_) {
                made[m.made].push_back(&m);
                left[m.left].push_back(&m);
            } else {
                posted[m.posted].push_back(&m);
                used[m.used].push_back(&m);
            }
        }
        const auto transfers_at = [&](int position) {
            std::vector<ActionId> waits;
            for (const Message* m : used[position]) waits.push_back(action_of(*m));
            for (const Message* m : left[position]) waits.push_back(action_of(*m));
            return waits;
        };
        for (int position = 0; position <= end; ++position) {
            const auto send_made = [&](bool tied) {
                if (position == 0) return;
                for (const Message* m : made[position - 1]) {
                    if ((m->channel == Channel::tied) == tied) add_send(*m);
                }
            };
            send_made(false);
            for (const Message* m : posted[position]) add_receive(*m);
            send_made(true);
            if (position == end) break;
            add_step(steps[position], transfers_at(position));
            if (completes_gradients(steps[position]) && !holds_shared(steps[position].chunk))
                add_reductions(steps[position].chunk, last_step_);
        }
        if (options_.training) {
            add_end_of_step(transfers_at(end));
        } else if (const auto waits = transfers_at(end); !waits.empty()) {
            add({.kind = ActionKind::join}, waits);
        }
        number_events();
        program_.buffers = buffers_.take();
        return std::move(program_);
    }

  private:
    using Maybe = StageBuffers::Maybe;

    bool is_last(ChunkId chunk) const { return chunk == chunks_.last_id(); }
    bool holds_shared(ChunkId of_chunk) const {
        return std::any_of(graph_.shared.begin(), graph_.shared.end(), [&](const SharedParameter& shared) {
            return std::any_of(shared.modules.begin(), shared.modules.end(),
                               [&](int m) { return chunks_[of_chunk].holds(m); });
        });
    }
    ChunkId holder_of(int module) const {
        ChunkId chunk(0);
        while (!chunks_[chunk].holds(module)) ++chunk;
        return chunk;
    }
    /// Whether a step is the last to add to the gradients of its chunk.
    bool completes_gradients(const Computation& step) const {
        return options_.training && step.microbatch == last_microbatch_ &&
               (step.kind == ComputationKind::backward || step.kind == ComputationKind::backward_weight);
    }

    ActionId add(Action action, std::vector<ActionId> waits = {}) {
        action.stream = facts_of(action.kind).stream;
        waits_.push_back(std::move(waits));
        return program_.actions.add(std::move(action));
    }

    /// `waits` are those of a step's first action, or of its first backward: a recomputation does not wait for the
    /// gradient.
    void add_step(const Computation& step, std::vector<ActionId> waits) {
        const std::vector<Part> parts = parts_in_order(chunks_[step.chunk], options_.training, step.kind);
        for (const Part& part : parts) {
            add_fetches();
            ++tasks_;
            Action action{.kind = action_kind(step.kind),
                          .microbatch = step.microbatch,
                          .chunk = step.chunk,
                          .group = part.group};
            const bool is_split = step.kind == ComputationKind::backward_input;
            if (step.kind == ComputationKind::forward) {
                fill_forward(action, waits, step, part);
            } else if (step.kind == ComputationKind::backward || is_split) {
                if (part.group != kNone) add_recomputation(step, part);
                fill_backward(action, step, part);
                if (is_split) action.writes.push_back(buffers_.deferred(step, part));
            } else if (step.kind == ComputationKind::backward_weight) {
                const BufferId gradients = buffers_.gradients(step.chunk);
                action.reads = action.writes = {gradients};
                action.consumes = {buffers_.deferred(step, part)};
            } else {
                throw std::logic_error(fmt::format("lowering: no rule for {}", name_of(action)));
            }
            const bool is_end = &part == &parts.back();
            if (is_end && completes_gradients(step)) {
                for (const BufferId copy : tied_gradients_of(step.chunk)) action.writes.push_back(copy);
            }
            const bool computes_loss = is_last(step.chunk) && part.is_last &&
                                       step.kind != ComputationKind::backward_weight &&
                                       (step.kind != ComputationKind::forward || !options_.training);
            if (computes_loss) {
                const BufferId logits = buffers_.logits(step, part);
                action.writes.insert(action.writes.begin(), logits);
                action.frees.push_back(logits);
            }
            take_use(action, part);
            last_step_ = add(std::move(action), std::exchange(waits, {}));
            if (step.kind == ComputationKind::forward && is_offloaded(step, part)) add_offload(step, part);
        }
    }

    void take_use(Action& action, const Part& part) {
        const bool keeps = options_.training && (action.kind != ActionKind::forward || part.group == kNone);
        const ActionUse use = use_of(graph_, part, action.kind, options_.training, keeps);
        if (use.scratch > 0) action.scratch = {buffers_.scratch(action.kind, action.chunk, part.group, use.scratch)};
        action.growth_bytes = std::max(use.growth, buffers_.left_bytes(action));
        action.tensor = use.exchange;
    }

    void fill_forward(Action& action, std::vector<ActionId>& waits, const Computation& step, const Part& part) {
        action.reads = {buffers_.parameters(step.chunk)};
        if (const auto gathered = gathers_.find(step.chunk); gathered != gathers_.end()) {
            waits.insert(waits.end(), gathered->second.begin(), gathered->second.end());
            gathers_.erase(gathered);  // what follows on this stream need not wait again
        }
        if (const Maybe in = buffers_.input(step, part)) {
            action.reads.push_back(*in);
            if (!options_.training) action.frees.push_back(*in);
        }
        if (is_offloaded(step, part) && leaving_.size() == kOffloadsUnderWay) {
            waits.push_back(leaving_.front());
            leaving_.pop_front();
        }
        if (options_.training && part.group == kNone) action.writes.push_back(buffers_.stash(step, part));
        if (const Maybe out = buffers_.output(step, part)) action.writes.push_back(*out);
    }

    void add_recomputation(const Computation& step, const Part& part) {
        Action action{.kind = ActionKind::recompute,
                      .microbatch = step.microbatch,
                      .chunk = step.chunk,
                      .group = part.group,
                      .reads = {buffers_.parameters(step.chunk)},
                      .writes = {buffers_.stash(step, part)}};
        std::vector<ActionId> waits;
        if (const Maybe in = kept_input(step, part)) action.reads.push_back(*in);
        if (is_offloaded(step, part)) {
            action.frees = {buffers_.copy_of_input(BufferKind::offloaded, step, part)};
            waits = {fetches_.at(key_of(step, part))};
        }
        take_use(action, part);
        add(std::move(action), std::move(waits));
    }

    void fill_backward(Action& action, const Computation& step, const Part& part) {
        action.consumes = {buffers_.stash(step, part)};
        if (const Maybe gradient = buffers_.output_gradient(step, part)) action.consumes.push_back(*gradient);
        if (const Maybe in = kept_input(step, part)) action.frees.push_back(*in);
        action.reads = {buffers_.parameters(step.chunk), buffers_.gradients(step.chunk)};
        action.reads.insert(action.reads.end(), action.frees.begin(), action.frees.end());
        action.writes = {buffers_.gradients(step.chunk)};
        if (const Maybe gradient = buffers_.input_gradient(step, part)) action.writes.push_back(*gradient);
    }

    // Offloading.
    static InputKey key_of(const Computation& step, const Part& part) {
        return {step.microbatch, step.chunk, part.group};
    }
    bool is_offloaded(const Computation& step, const Part& part) const {
        return offloading_.leaving.contains(key_of(step, part));
    }
    /// The input as the backward finds it.
    Maybe kept_input(const Computation& step, const Part& part) {
        if (is_offloaded(step, part)) return buffers_.copy_of_input(BufferKind::prefetched, step, part);
        return buffers_.input(step, part);
    }
    void add_offload(const Computation& step, const Part& part) {
        const BufferId in = buffers_.input(step, part).value();
        const ActionId offload = add({.kind = ActionKind::offload,
                                      .microbatch = step.microbatch,
                                      .chunk = step.chunk,
                                      .group = part.group,
                                      .bytes = buffers_.bytes(in),
                                      .reads = {in},
                                      .writes = {buffers_.copy_of_input(BufferKind::offloaded, step, part)},
                                      .frees = {in}},
                                     {last_step_});
        offloads_[key_of(step, part)] = offload;
        leaving_.push_back(offload);
    }
    void add_fetches() {
        const auto due = offloading_.fetched_before.find(tasks_);
        if (due == offloading_.fetched_before.end()) return;
        for (const auto& [step, part] : due->second) {
            const BufferId from = buffers_.copy_of_input(BufferKind::offloaded, step, part);
            const BufferId to = buffers_.copy_of_input(BufferKind::prefetched, step, part);
            fetches_[key_of(step, part)] = add({.kind = ActionKind::prefetch,
                                                .microbatch = step.microbatch,
                                                .chunk = step.chunk,
                                                .group = part.group,
                                                .bytes = buffers_.bytes(from),
                                                .reads = {from},
                                                .writes = {to}},
                                               {offloads_.at(key_of(step, part)), last_step_});
        }
    }

    std::vector<BufferId> tied_gradients_of(ChunkId of_chunk) {
        std::vector<BufferId> copies;
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            for (const int m : graph_.shared[s].modules) {
                if (chunks_[of_chunk].holds(m))
                    copies.push_back(buffers_.tied(BufferKind::tied_gradient, static_cast<int>(s), m, of_chunk));
            }
        }
        return copies;
    }

    // Messages.
    ActionId& action_of(const Message& message) { return action_of_[&message - messages_.data()]; }
    void add_transfer(const Message& m, Action action) {
        action.microbatch = m.microbatch;
        action.channel = m.channel;
        action.bytes = m.bytes;
        std::vector<ActionId> waits;
        if (last_step_ != kNone) waits = {last_step_};
        action_of(m) = add(std::move(action), std::move(waits));
    }
    void add_send(const Message& m) {
        const BufferId sent = m.channel == Channel::activations ? buffers_.activation_out(m.microbatch, m.from_chunk)
                              : m.channel == Channel::gradients
                                  ? buffers_.gradient_out(m.microbatch, m.from_chunk)
                                  : buffers_.tied(BufferKind::tied_gradient, m.shared, m.module, m.from_chunk);
        Action action{.kind = ActionKind::send, .chunk = m.from_chunk, .peer = m.to_stage, .reads = {sent}};
        if (m.channel != Channel::tied) action.frees = {sent};
        add_transfer(m, std::move(action));
    }
    void add_receive(const Message& m) {
        const BufferId received = m.channel == Channel::activations ? buffers_.activation_in(m.microbatch, m.to_chunk)
                                  : m.channel == Channel::gradients
                                      ? buffers_.gradient_in(m.microbatch, m.to_chunk)
                                      : buffers_.tied(BufferKind::tied_received, m.shared, m.module, m.to_chunk);
        add_transfer(m, {.kind = ActionKind::receive, .chunk = m.to_chunk, .peer = m.from_stage, .writes = {received}});
    }

    // Begin and end of a step.
    /// Of a collective over the data-parallel group on a chunk's buffer: one action a bucket, or one for all.
    template <typename Add>
    void for_each_bucket(const Action& whole, BufferId buffer, Add&& add_one) {
        const FlatSection& section = sections_[whole.chunk];
        const std::int64_t element_bytes = section.elements == 0 ? 0 : buffers_.bytes(buffer) / section.elements;
        Action action = whole;
        action.channel = Channel::data;
        action.reads = action.writes = {buffer};
        for (const BucketId bucket : section.bucket_ids()) {
            action.bucket = bucket;
            action.bytes = element_bytes * section.elements_of(bucket);
            add_one(action);
        }
    }

    void add_gathers(std::span<const Computation> steps) {
        for (const Computation& step : steps) {
            if (step.kind != ComputationKind::forward || gathers_.contains(step.chunk)) continue;
            for_each_bucket({.kind = ActionKind::gather_parameters, .chunk = step.chunk},
                            buffers_.parameters(step.chunk),
                            [&](const Action& gather) { gathers_[step.chunk].push_back(add(gather)); });
        }
    }

    /// Behind `made`, the last action that writes the chunk's gradients.
    void add_reductions(ChunkId of_chunk, ActionId made) {
        made = add_row_sum(of_chunk, made);
        for_each_bucket({.kind = ActionKind::reduce_gradients, .chunk = of_chunk}, buffers_.gradients(of_chunk),
                        [&](Action reduction) {
                            const std::int64_t scratch = reduction_scratch(reduction.bytes);
                            const auto n = static_cast<int>(reductions_.size());
                            if (scratch > 0) reduction.scratch = {buffers_.reduction_scratch(n, scratch)};
                            reductions_.push_back(add(std::move(reduction), {made}));
                        });
    }

    std::int64_t reduction_scratch(std::int64_t bytes) const {
        return options_.sharded ? reduce_scatter_scratch(bytes, options_.replicas, options_.transport)
                                : all_reduce_scratch(bytes, options_.replicas, options_.transport);
    }

    /// Where tensor ranks have gradients of their own rows only: one tensor of them all is summed and put back.
    ActionId add_row_sum(ChunkId of_chunk, ActionId made) {
        std::int64_t bytes = 0;
        for (int m = chunks_[of_chunk].first_module; m < chunks_[of_chunk].end_module; ++m)
            bytes += graph_.modules[static_cast<std::size_t>(m)].row_gradient_bytes;
        if (bytes == 0 || options_.tensor_ranks == 1) return made;
        const std::int64_t scratch = bytes + all_reduce_scratch(bytes, options_.tensor_ranks, options_.transport);
        const BufferId gradients = buffers_.gradients(of_chunk);
        return add({.kind = ActionKind::sum_row_gradients,
                    .chunk = of_chunk,
                    .tensor = two_rounds(bytes, options_.tensor_ranks),
                    .reads = {gradients},
                    .writes = {gradients},
                    .scratch = {buffers_.scratch(ActionKind::sum_row_gradients, of_chunk, kNone, scratch)},
                    .growth_bytes = scratch},
                   {made});
    }

    /// Adds up all copies of one shared parameter, if this stage holds one: returns the action, or none.
    ActionId add_sum(int shared) {
        Action sum{.kind = ActionKind::sum_tied_gradients};
        for (const int m : graph_.shared[shared].modules) {
            const ChunkId of_chunk = holder_of(m);
            if (chunks_[of_chunk].stage == stage_) {
                const BufferId gradients = buffers_.gradients(of_chunk);
                const bool is_listed = !sum.writes.empty() && sum.writes.back() == gradients;
                if (!is_listed) sum.writes.push_back(gradients);
                sum.frees.push_back(buffers_.tied(BufferKind::tied_gradient, shared, m, of_chunk));
            } else {
                const auto copy = std::find_if(messages_.begin(), messages_.end(), [&](const Message& x) {
                    return x.to_stage == stage_ && x.shared == shared && x.module == m;
                });
                if (copy == messages_.end()) return kNone;  // no copy on this stage
                sum.frees.push_back(buffers_.tied(BufferKind::tied_received, shared, m, copy->to_chunk));
            }
        }
        sum.reads = sum.writes;
        sum.reads.insert(sum.reads.end(), sum.frees.begin(), sum.frees.end());
        std::vector<ActionId> waits;
        for (const Message& m : messages_) {
            if (m.shared == shared) waits.push_back(action_of(m));
        }
        return add(std::move(sum), std::move(waits));
    }

    void add_end_of_step(const std::vector<ActionId>& outstanding) {
        std::vector<ActionId> waited_for;
        ActionId last_sum;
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            const ActionId sum = add_sum(static_cast<int>(s));
            if (sum == kNone) continue;
            last_sum = sum;
            waited_for.insert(waited_for.end(), waits_[sum].begin(), waits_[sum].end());
        }
        for (const ChunkId c : buffers_.own_chunks()) {
            if (holds_shared(c)) add_reductions(c, last_sum);
        }
        Action step{.kind = ActionKind::optimizer_step,
                    .channel = Channel::world,
                    .reads = buffers_.all_gradients(),
                    .writes = buffers_.all_parameters()};
        step.reads.insert(step.reads.end(), step.writes.begin(), step.writes.end());
        std::vector<ActionId> waits = reductions_;
        for (const ActionId transfer : outstanding) {
            if (std::find(waited_for.begin(), waited_for.end(), transfer) == waited_for.end())
                waits.push_back(transfer);
        }
        add(std::move(step), std::move(waits));
    }

    void number_events() {
        Table<ActionId, bool> is_awaited(program_.actions.size(), false);
        for (const auto& waits : waits_) {
            for (const ActionId awaited : waits) is_awaited[awaited] = true;
        }
        for (const ActionId i : program_.actions.ids()) {
            if (is_awaited[i]) program_.actions[i].signals = EventId(program_.events++);
        }
        for (const ActionId i : program_.actions.ids()) {
            auto& events = program_.actions[i].waits;
            for (const ActionId awaited : waits_[i]) events.push_back(program_.actions[awaited].signals);
            std::sort(events.begin(), events.end());
        }
    }

    const ModuleGraph& graph_;
    const Chunks& chunks_;
    const Table<ChunkId, FlatSection>& sections_;
    StageId stage_;
    MicrobatchId last_microbatch_;
    const LoweringOptions& options_;
    std::span<const Message> messages_;
    std::vector<ActionId> action_of_;  // by message: sends or receives it
    StageBuffers buffers_;
    Offloading offloading_;
    std::vector<ActionId> reductions_;
    std::map<ChunkId, std::vector<ActionId>> gathers_;  // those that are not waited for yet
    ActionId last_step_;                                // the compute action added last
    int tasks_ = 0;                                     // added so far
    std::map<InputKey, ActionId> offloads_, fetches_;
    std::deque<ActionId> leaving_;  // offloads that no forward has waited for
    RankProgram program_;
    Table<ActionId, std::vector<ActionId>> waits_;
};

}  // namespace

Programs lower(const ModuleGraph& graph, const Chunks& chunks, const Table<ChunkId, FlatSection>& sections,
               const ComputeOrders& orders, int microbatches, const LoweringOptions& options) {
    Table<StageId, std::vector<Message>> of_stage(orders.size());
    for (const Message& m : messages_of(graph, chunks, orders, microbatches, options)) {
        of_stage[m.from_stage].push_back(m);
        of_stage[m.to_stage].push_back(m);
    }
    Programs programs;
    for (const StageId stage : orders.ids())
        programs.push_back(ProgramBuilder(graph, chunks, sections, stage, microbatches, options, of_stage[stage])
                               .build(orders[stage]));
    return programs;
}

}  // namespace smp::partition
