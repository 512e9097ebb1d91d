#include "partition/lowering.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

#include <fmt/format.h>

#include "partition/messages.h"

namespace smp::partition {
namespace {

constexpr std::int64_t kElementBytes = 4;  // fp32

/// Builds one stage's program. While it is being built, Action::waits holds positions of actions; they become events at
/// the end.
class ProgramBuilder {
  public:
    ProgramBuilder(const ModuleGraph& graph, std::span<const Chunk> chunks, int stage, int microbatches, bool training)
        : graph_(graph), chunks_(chunks), stage_(stage), microbatches_(microbatches), training_(training) {
        std::int64_t parameters = 0;
        for (const Chunk& chunk : chunks_) {
            if (chunk.stage != stage_) continue;
            for (int m = chunk.first_module; m < chunk.end_module; ++m) parameters += module(m).parameter_count;
        }
        flat_bytes_ = kElementBytes * parameters;
        parameters_ = buffer({.kind = BufferKind::parameters, .bytes = flat_bytes_});
        if (training_) gradients_ = buffer({.kind = BufferKind::gradients, .bytes = flat_bytes_});
    }

    /// `messages` are those this stage sends or receives, in the order of messages_of.
    RankProgram build(std::span<const ComputeStep> steps, std::span<const Message> messages) {
        const auto end = static_cast<int>(steps.size());
        std::vector<std::vector<const Message*>> made(steps.size() + 1), posted(steps.size() + 1),
            left(steps.size() + 1), used(steps.size() + 1);
        for (const Message& m : messages) {
            if (m.from_stage == stage_) {
                made[static_cast<std::size_t>(m.made)].push_back(&m);
                left[static_cast<std::size_t>(m.left)].push_back(&m);
            } else {
                posted[static_cast<std::size_t>(m.posted)].push_back(&m);
                used[static_cast<std::size_t>(m.used)].push_back(&m);
            }
        }
        const auto transfers_at = [&](int position) {
            const auto at = static_cast<std::size_t>(position);
            std::vector<int> waits;
            for (const Message* m : used[at]) waits.push_back(action_of_.at(m));
            for (const Message* m : left[at]) waits.push_back(action_of_.at(m));
            return waits;
        };
        for (int position = 0; position <= end; ++position) {
            const auto at = static_cast<std::size_t>(position);
            const auto send_made = [&](bool tied) {
                if (position == 0) return;
                for (const Message* m : made[at - 1]) {
                    if ((m->channel == Channel::tied) == tied) add_send(*m);
                }
            };
            send_made(false);
            for (const Message* m : posted[at]) add_receive(*m);
            send_made(true);
            if (position < end) add_step(steps[at], transfers_at(position));
        }
        if (training_) {
            add_end_of_step(messages, transfers_at(end));
        } else if (const auto waits = transfers_at(end); !waits.empty()) {
            add({.kind = ActionKind::join, .waits = waits});
        }
        number_events();
        return std::move(program_);
    }

  private:
    const Module& module(int index) const { return graph_.modules[static_cast<std::size_t>(index)]; }
    const Chunk& chunk(int index) const { return chunks_[static_cast<std::size_t>(index)]; }
    bool is_last(int chunk) const { return chunk + 1 == static_cast<int>(chunks_.size()); }
    std::int64_t boundary_bytes(int before_chunk) const {
        return module(chunk(before_chunk - 1).end_module - 1).output_bytes;
    }

    int buffer(const Buffer& wanted) {
        const auto key = std::tuple(wanted.kind, wanted.microbatch, wanted.chunk, wanted.shared, wanted.module);
        const auto [found, is_new] = buffers_.emplace(key, static_cast<int>(program_.buffers.size()));
        if (is_new) program_.buffers.push_back(wanted);
        return found->second;
    }
    int stash(const ComputeStep& step) {
        std::int64_t bytes = 0;
        for (int m = chunk(step.chunk).first_module; m < chunk(step.chunk).end_module; ++m)
            bytes += module(m).stash_bytes;
        return buffer({.kind = BufferKind::stash, .microbatch = step.microbatch, .chunk = step.chunk, .bytes = bytes});
    }
    /// The boundary tensors of a chunk; the one between two chunks of this stage is the later chunk's input and the
    /// earlier chunk's incoming gradient.
    int activation_in(int microbatch, int of) {
        return buffer(
            {.kind = BufferKind::activation_in, .microbatch = microbatch, .chunk = of, .bytes = boundary_bytes(of)});
    }
    int activation_out(int microbatch, int of) {
        if (chunk(of + 1).stage == stage_) return activation_in(microbatch, of + 1);
        return buffer({.kind = BufferKind::activation_out,
                       .microbatch = microbatch,
                       .chunk = of,
                       .bytes = boundary_bytes(of + 1)});
    }
    int gradient_in(int microbatch, int of) {
        return buffer(
            {.kind = BufferKind::gradient_in, .microbatch = microbatch, .chunk = of, .bytes = boundary_bytes(of + 1)});
    }
    int gradient_out(int microbatch, int of) {
        if (chunk(of - 1).stage == stage_) return gradient_in(microbatch, of - 1);
        return buffer(
            {.kind = BufferKind::gradient_out, .microbatch = microbatch, .chunk = of, .bytes = boundary_bytes(of)});
    }
    int tied(BufferKind kind, int shared, int of_module, int of_chunk) {
        return buffer({.kind = kind,
                       .chunk = of_chunk,
                       .shared = shared,
                       .bytes = kElementBytes * graph_.shared[static_cast<std::size_t>(shared)].parameter_count,
                       .module = of_module});
    }

    int add(Action action) {
        program_.actions.push_back(std::move(action));
        return static_cast<int>(program_.actions.size()) - 1;
    }

    void add_step(const ComputeStep& step, std::vector<int> waits) {
        Action action{.kind = step.kind, .microbatch = step.microbatch, .chunk = step.chunk, .waits = std::move(waits)};
        const bool has_input = step.chunk > 0;
        if (step.kind == ActionKind::forward) {
            action.reads = {parameters_};
            if (has_input) action.reads.push_back(activation_in(step.microbatch, step.chunk));
            if (has_input && !training_) action.frees.push_back(activation_in(step.microbatch, step.chunk));
            if (training_) action.writes.push_back(stash(step));
            if (!is_last(step.chunk)) action.writes.push_back(activation_out(step.microbatch, step.chunk));
        } else if (step.kind == ActionKind::backward) {
            std::vector<int> used_up = {stash(step)};
            if (has_input) used_up.push_back(activation_in(step.microbatch, step.chunk));
            if (!is_last(step.chunk)) used_up.push_back(gradient_in(step.microbatch, step.chunk));
            action.reads = {parameters_, gradients_};
            action.reads.insert(action.reads.end(), used_up.begin(), used_up.end());
            action.writes = {gradients_};
            if (has_input) action.writes.push_back(gradient_out(step.microbatch, step.chunk));
            if (step.microbatch + 1 == microbatches_) {
                for (const int copy : tied_gradients_of(step.chunk)) action.writes.push_back(copy);
            }
            action.frees = used_up;
        } else {
            throw std::logic_error(fmt::format("lowering: no rule for {}", name_of(action)));
        }
        last_step_ = add(std::move(action));
    }

    std::vector<int> tied_gradients_of(int of_chunk) {
        std::vector<int> copies;
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            for (const int m : graph_.shared[s].modules) {
                if (m < chunk(of_chunk).first_module || m >= chunk(of_chunk).end_module) continue;
                copies.push_back(tied(BufferKind::tied_gradient, static_cast<int>(s), m, of_chunk));
            }
        }
        return copies;
    }

    void add_transfer(const Message& m, Action action) {
        action.microbatch = m.microbatch;
        action.channel = m.channel;
        action.stream = Stream::communication;
        action.bytes = m.bytes;
        if (last_step_ >= 0) action.waits = {last_step_};
        action_of_[&m] = add(std::move(action));
    }
    void add_send(const Message& m) {
        const int sent = m.channel == Channel::activations ? activation_out(m.microbatch, m.from_chunk)
                         : m.channel == Channel::gradients
                             ? gradient_out(m.microbatch, m.from_chunk)
                             : tied(BufferKind::tied_gradient, m.shared, m.module, m.from_chunk);
        Action action{.kind = ActionKind::send, .chunk = m.from_chunk, .peer = m.to_stage, .reads = {sent}};
        if (m.channel != Channel::tied) action.frees = {sent};
        add_transfer(m, std::move(action));
    }
    void add_receive(const Message& m) {
        const int received = m.channel == Channel::activations ? activation_in(m.microbatch, m.to_chunk)
                             : m.channel == Channel::gradients
                                 ? gradient_in(m.microbatch, m.to_chunk)
                                 : tied(BufferKind::tied_received, m.shared, m.module, m.to_chunk);
        add_transfer(m, {.kind = ActionKind::receive, .chunk = m.to_chunk, .peer = m.from_stage, .writes = {received}});
    }

    void add_end_of_step(std::span<const Message> messages, const std::vector<int>& outstanding) {
        std::vector<int> waits_of_sum;
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            Action sum{.kind = ActionKind::sum_tied_gradients, .reads = {gradients_}, .writes = {gradients_}};
            bool held_here = false;
            for (const int m : graph_.shared[s].modules) {
                const auto holder = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& c) {
                    return m >= c.first_module && m < c.end_module;
                });
                const auto of_chunk = static_cast<int>(holder - chunks_.begin());
                if (holder->stage == stage_) {
                    held_here = true;
                    sum.frees.push_back(tied(BufferKind::tied_gradient, static_cast<int>(s), m, of_chunk));
                } else {
                    const auto copy = std::find_if(messages.begin(), messages.end(), [&](const Message& x) {
                        return x.to_stage == stage_ && x.shared == static_cast<int>(s) && x.module == m;
                    });
                    if (copy == messages.end()) break;  // no copy on this stage
                    sum.frees.push_back(tied(BufferKind::tied_received, static_cast<int>(s), m, copy->to_chunk));
                }
            }
            if (!held_here) continue;
            sum.reads.insert(sum.reads.end(), sum.frees.begin(), sum.frees.end());
            for (const Message& m : messages) {
                if (m.shared == static_cast<int>(s)) sum.waits.push_back(action_of_.at(&m));
            }
            waits_of_sum.insert(waits_of_sum.end(), sum.waits.begin(), sum.waits.end());
            add(std::move(sum));
        }
        add({.kind = ActionKind::reduce_gradients,
             .channel = Channel::data,
             .bytes = flat_bytes_,
             .reads = {gradients_},
             .writes = {gradients_}});
        Action step{.kind = ActionKind::optimizer_step,
                    .channel = Channel::world,
                    .reads = {gradients_, parameters_},
                    .writes = {parameters_}};
        for (const int transfer : outstanding) {
            if (std::find(waits_of_sum.begin(), waits_of_sum.end(), transfer) == waits_of_sum.end())
                step.waits.push_back(transfer);
        }
        add(std::move(step));
    }

    void number_events() {
        std::vector<int> event_of(program_.actions.size(), -1);
        for (const Action& action : program_.actions) {
            for (const int waited_for : action.waits) event_of[static_cast<std::size_t>(waited_for)] = 0;
        }
        for (std::size_t i = 0; i < event_of.size(); ++i) {
            if (event_of[i] == 0) program_.actions[i].signals = event_of[i] = program_.events++;
        }
        for (Action& action : program_.actions) {
            for (int& wait : action.waits) wait = event_of[static_cast<std::size_t>(wait)];
            std::sort(action.waits.begin(), action.waits.end());
        }
    }

    const ModuleGraph& graph_;
    std::span<const Chunk> chunks_;
    int stage_;
    int microbatches_;
    bool training_;
    std::int64_t flat_bytes_ = 0;
    int parameters_ = -1, gradients_ = -1;
    int last_step_ = -1;  // position of the compute action added last
    std::map<const Message*, int> action_of_;
    std::map<std::tuple<BufferKind, int, int, int, int>, int> buffers_;
    RankProgram program_;
};

}  // namespace

std::vector<RankProgram> lower(const ModuleGraph& graph, std::span<const Chunk> chunks, const ComputeOrders& orders,
                               int microbatches, const LoweringOptions& options) {
    const std::vector<Message> all = messages_of(graph, chunks, orders, microbatches, options);
    std::vector<std::vector<Message>> of_stage(orders.size());
    for (const Message& m : all) {
        of_stage[static_cast<std::size_t>(m.from_stage)].push_back(m);
        of_stage[static_cast<std::size_t>(m.to_stage)].push_back(m);
    }
    std::vector<RankProgram> programs;
    for (std::size_t stage = 0; stage < orders.size(); ++stage) {
        ProgramBuilder builder(graph, chunks, static_cast<int>(stage), microbatches, options.training);
        programs.push_back(builder.build(orders[stage], of_stage[stage]));
    }
    return programs;
}

}  // namespace smp::partition
