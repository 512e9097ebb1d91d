#include "partition/plan/lowering.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "partition/plan/messages.h"

namespace smp::partition {
namespace {

/// Builds one stage's program. While it is being built, Action::waits holds positions of actions; they become events at
/// the end.
class ProgramBuilder {
  public:
    /// `messages` are those this stage sends or receives, in the order of messages_of.
    ProgramBuilder(const ModuleGraph& graph, std::span<const Chunk> chunks, int stage, int stages, int microbatches,
                   const LoweringOptions& options, std::span<const Message> messages)
        : graph_(graph),
          chunks_(chunks),
          stage_(stage),
          stages_(stages),
          microbatches_(microbatches),
          training_(options.training),
          gather_parameters_(options.gather_parameters),
          loading_horizon_(options.training ? options.loading_horizon : 0),
          messages_(messages),
          action_of_(messages.size(), -1),
          most_groups_(most_groups()),
          passing_(kPassingKinds * static_cast<std::size_t>(own_chunks()) * most_groups_ *
                       static_cast<std::size_t>(microbatches),
                   -1) {
        for (int c = stage_; c < chunk_count(); c += stages_) {
            parameters_.push_back(add_buffer({.kind = BufferKind::parameters,
                                              .chunk = c,
                                              .bytes = parameter_bytes(c, value_bytes(graph_.precision))}));
            if (!training_) continue;
            gradients_.push_back(
                add_buffer({.kind = BufferKind::gradients, .chunk = c, .bytes = parameter_bytes(c, kGradientBytes)}));
        }
    }

    RankProgram build(std::span<const Computation> steps) {
        const auto end = static_cast<int>(steps.size());
        if (gather_parameters_) add_gathers(steps);
        if (loading_horizon_ > 0) choose_offloads(steps);
        std::vector<std::vector<const Message*>> made(steps.size() + 1), posted(steps.size() + 1),
            left(steps.size() + 1), used(steps.size() + 1);
        for (const Message& m : messages_) {
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
            for (const Message* m : used[at]) waits.push_back(action_of(*m));
            for (const Message* m : left[at]) waits.push_back(action_of(*m));
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
            if (position == end) break;
            add_step(steps[at], transfers_at(position));
            if (completes_gradients(steps[at]) && !holds_shared(steps[at].chunk))
                add_reduction(steps[at].chunk, last_step_);
        }
        if (training_) {
            add_end_of_step(transfers_at(end));
        } else if (const auto waits = transfers_at(end); !waits.empty()) {
            add({.kind = ActionKind::join, .waits = waits});
        }
        number_events();
        return std::move(program_);
    }

  private:
    const Module& module(int index) const { return graph_.modules[static_cast<std::size_t>(index)]; }
    const Chunk& chunk(int index) const { return chunks_[static_cast<std::size_t>(index)]; }
    int chunk_count() const { return static_cast<int>(chunks_.size()); }
    int own_chunks() const { return (chunk_count() - stage_ + stages_ - 1) / stages_; }
    bool is_last(int chunk) const { return chunk + 1 == chunk_count(); }
    std::size_t most_groups() const {
        std::size_t most = 1;
        for (int c = stage_; c < chunk_count(); c += stages_) most = std::max(most, chunk(c).groups.size());
        return most;
    }
    bool holds(int of_chunk, int of_module) const {
        return of_module >= chunk(of_chunk).first_module && of_module < chunk(of_chunk).end_module;
    }
    bool holds_shared(int of_chunk) const {
        return std::any_of(graph_.shared.begin(), graph_.shared.end(), [&](const SharedParameter& shared) {
            return std::any_of(shared.modules.begin(), shared.modules.end(), [&](int m) { return holds(of_chunk, m); });
        });
    }
    /// A shared parameter counts where its first copy on this stage is: the others use its values.
    std::int64_t parameter_bytes(int of_chunk, std::int64_t element_bytes) const {
        std::int64_t count = 0;
        for (int m = chunk(of_chunk).first_module; m < chunk(of_chunk).end_module; ++m) {
            count += module(m).parameter_count;
            for (const SharedParameter& shared : graph_.shared) {
                const auto is_here = [&](int of_module) { return is_on_this_stage(of_module); };
                const auto end = std::find(shared.modules.begin(), shared.modules.end(), m);
                if (end != shared.modules.end() && std::any_of(shared.modules.begin(), end, is_here))
                    count -= shared.parameter_count;
            }
        }
        return element_bytes * count;
    }
    bool is_on_this_stage(int of_module) const {
        for (int c = stage_; c < chunk_count(); c += stages_) {
            if (holds(c, of_module)) return true;
        }
        return false;
    }
    /// Whether a step is the last to add to the gradients of its chunk.
    bool completes_gradients(const Computation& step) const {
        return training_ && step.microbatch + 1 == microbatches_ &&
               (step.kind == ComputationKind::backward || step.kind == ComputationKind::backward_weight);
    }
    std::int64_t boundary_bytes(int before_chunk) const {
        return module(chunk(before_chunk - 1).end_module - 1).output_bytes;
    }

    int add_buffer(const Buffer& buffer) {
        program_.buffers.push_back(buffer);
        return static_cast<int>(program_.buffers.size()) - 1;
    }
    /// The one buffer of its kind, microbatch, chunk (one of this stage's) and group.
    int buffer(const Buffer& wanted) {
        const auto kind = static_cast<std::size_t>(wanted.kind);
        const auto own_chunk = static_cast<std::size_t>(wanted.chunk / stages_);
        const auto group = static_cast<std::size_t>(std::max(wanted.group, 0));
        int& id = passing_[((kind * static_cast<std::size_t>(own_chunks()) + own_chunk) * most_groups_ + group) *
                               static_cast<std::size_t>(microbatches_) +
                           static_cast<std::size_t>(wanted.microbatch)];
        if (id < 0) id = add_buffer(wanted);
        return id;
    }
    /// What one action computes of a chunk: all of it, or one of its groups.
    struct Part {
        int group = -1;
        int first_module = 0, end_module = 0;
        bool is_first = true, is_last = true;  // of the chunk
    };
    std::vector<Part> parts_of(int of_chunk) const {
        const Chunk& whole = chunk(of_chunk);
        if (!training_ || whole.groups.empty())
            return {{.first_module = whole.first_module, .end_module = whole.end_module}};
        std::vector<Part> parts;
        const auto groups = static_cast<int>(whole.groups.size());
        for (int g = 0; g < groups; ++g) {
            parts.push_back({.group = g,
                             .first_module = whole.groups[static_cast<std::size_t>(g)],
                             .end_module = whole.group_end(g),
                             .is_first = g == 0,
                             .is_last = g + 1 == groups});
        }
        return parts;
    }

    int stash(const Computation& step, const Part& part) {
        return buffer({.kind = BufferKind::stash,
                       .microbatch = step.microbatch,
                       .chunk = step.chunk,
                       .bytes = kept_bytes(graph_, part.first_module, part.end_module),
                       .group = part.group});
    }
    int deferred(const Computation& step, const Part& part) {
        std::int64_t bytes = 0;
        for (int m = part.first_module; m < part.end_module; ++m) bytes += module(m).deferred_bytes;
        return buffer({.kind = BufferKind::deferred,
                       .microbatch = step.microbatch,
                       .chunk = step.chunk,
                       .bytes = bytes,
                       .group = part.group});
    }
    int logits_of(const Computation& step, const Part& part) {
        return buffer({.kind = BufferKind::logits,
                       .microbatch = step.microbatch,
                       .chunk = step.chunk,
                       .bytes = module(part.end_module - 1).logits_bytes,
                       .group = part.group});
    }
    /// The boundary tensor before a group that is not its chunk's first, or that tensor's gradient.
    int between_groups(BufferKind kind, const Computation& step, int group) {
        const int first = chunk(step.chunk).groups[static_cast<std::size_t>(group)];
        return buffer({.kind = kind,
                       .microbatch = step.microbatch,
                       .chunk = step.chunk,
                       .bytes = module(first - 1).output_bytes,
                       .group = group});
    }
    using Maybe = std::optional<int>;  // none: before the first module, behind the last
    Maybe input(const Computation& step, const Part& part) {
        if (!part.is_first) return between_groups(BufferKind::checkpoint, step, part.group);
        return step.chunk > 0 ? Maybe(activation_in(step.microbatch, step.chunk)) : std::nullopt;
    }
    /// The input as the backward finds it.
    Maybe kept_input(const Computation& step, const Part& part) {
        if (is_offloaded(step, part)) return copy_of_input(BufferKind::prefetched, step, part);
        return input(step, part);
    }
    Maybe output(const Computation& step, const Part& part) {
        if (!part.is_last) return between_groups(BufferKind::checkpoint, step, part.group + 1);
        return is_last(step.chunk) ? std::nullopt : Maybe(activation_out(step.microbatch, step.chunk));
    }
    Maybe output_gradient(const Computation& step, const Part& part) {
        if (!part.is_last) return between_groups(BufferKind::checkpoint_gradient, step, part.group + 1);
        return is_last(step.chunk) ? std::nullopt : Maybe(gradient_in(step.microbatch, step.chunk));
    }
    Maybe input_gradient(const Computation& step, const Part& part) {
        if (!part.is_first) return between_groups(BufferKind::checkpoint_gradient, step, part.group);
        return step.chunk > 0 ? Maybe(gradient_out(step.microbatch, step.chunk)) : std::nullopt;
    }

    // Offloading.
    using InputKey = std::tuple<int, int, int>;  // microbatch, chunk, group
    static InputKey key_of(const Computation& step, const Part& part) {
        return {step.microbatch, step.chunk, part.group};
    }
    bool is_offloaded(const Computation& step, const Part& part) const {
        return offload_actions_.contains(key_of(step, part));
    }
    int copy_of_input(BufferKind kind, const Computation& step, const Part& part) {
        const Maybe in = input(step, part);
        return buffer({.kind = kind,
                       .microbatch = step.microbatch,
                       .chunk = step.chunk,
                       .bytes = program_.buffers[static_cast<std::size_t>(in.value())].bytes,
                       .group = part.group});
    }
    /// The parts of a step in the order in which they are computed.
    std::vector<Part> parts_in_order(const Computation& step) const {
        std::vector<Part> parts = parts_of(step.chunk);
        if (step.kind != ComputationKind::forward) std::reverse(parts.begin(), parts.end());
        return parts;
    }
    void choose_offloads(std::span<const Computation> steps) {
        std::map<InputKey, int> forwards;
        int task = 0;
        for (const Computation& step : steps) {
            for (const Part& part : parts_in_order(step)) {
                const bool has_input = part.group > 0 || (part.group == 0 && step.chunk > 0);
                if (step.kind == ComputationKind::forward) {
                    forwards[key_of(step, part)] = task;
                } else if (step.kind != ComputationKind::backward_weight && has_input &&
                           task - forwards.at(key_of(step, part)) - 1 > loading_horizon_) {
                    offload_actions_[key_of(step, part)] = -1;
                    fetches_before_[task - loading_horizon_].emplace_back(step, part);
                }
                ++task;
            }
        }
    }
    void add_offload(const Computation& step, const Part& part) {
        const int in = input(step, part).value();
        const int position = add({.kind = ActionKind::offload,
                                  .microbatch = step.microbatch,
                                  .chunk = step.chunk,
                                  .group = part.group,
                                  .stream = Stream::copy_out,
                                  .bytes = program_.buffers[static_cast<std::size_t>(in)].bytes,
                                  .reads = {in},
                                  .writes = {copy_of_input(BufferKind::offloaded, step, part)},
                                  .frees = {in},
                                  .waits = {last_step_}});
        offload_actions_[key_of(step, part)] = position;
        leaving_.push_back(position);
    }
    void add_fetches() {
        const auto due = fetches_before_.find(tasks_);
        if (due == fetches_before_.end()) return;
        for (const auto& [step, part] : due->second) {
            const int from = copy_of_input(BufferKind::offloaded, step, part);
            const int to = copy_of_input(BufferKind::prefetched, step, part);
            fetch_actions_[key_of(step, part)] = add({.kind = ActionKind::prefetch,
                                                      .microbatch = step.microbatch,
                                                      .chunk = step.chunk,
                                                      .group = part.group,
                                                      .stream = Stream::copy_in,
                                                      .bytes = program_.buffers[static_cast<std::size_t>(from)].bytes,
                                                      .reads = {from},
                                                      .writes = {to},
                                                      .waits = {offload_actions_.at(key_of(step, part)), last_step_}});
        }
    }

    int parameters(int of_chunk) const { return parameters_[static_cast<std::size_t>(of_chunk / stages_)]; }
    int gradients(int of_chunk) const { return gradients_[static_cast<std::size_t>(of_chunk / stages_)]; }
    /// The boundary tensors of a chunk; the one between two chunks of this stage is the later chunk's input and the
    /// earlier chunk's incoming gradient.
    int activation_in(int microbatch, int of) {
        return buffer({.kind = BufferKind::activation_in,
                       .microbatch = microbatch,
                       .chunk = of,
                       .bytes = boundary_bytes(of),
                       .group = parts_of(of).front().group});
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
        const auto [found, is_new] = tied_.try_emplace({kind, shared, of_module}, -1);
        if (is_new) {
            found->second =
                add_buffer({.kind = kind,
                            .chunk = of_chunk,
                            .shared = shared,
                            .bytes = kGradientBytes * graph_.shared[static_cast<std::size_t>(shared)].parameter_count,
                            .module = of_module});
        }
        return found->second;
    }

    int add(Action action) {
        program_.actions.push_back(std::move(action));
        return static_cast<int>(program_.actions.size()) - 1;
    }

    /// `waits` are those of a step's first action, or of its first backward: a recomputation does not wait for the
    /// gradient.
    void add_step(const Computation& step, std::vector<int> waits) {
        const std::vector<Part> parts = parts_in_order(step);
        for (const Part& part : parts) {
            add_fetches();
            ++tasks_;
            Action action{.kind = action_kind(step.kind),
                          .microbatch = step.microbatch,
                          .chunk = step.chunk,
                          .group = part.group};
            const bool is_split = step.kind == ComputationKind::backward_input;
            if (step.kind == ComputationKind::forward) {
                fill_forward(action, step, part);
            } else if (step.kind == ComputationKind::backward || is_split) {
                if (part.group >= 0) add_recomputation(step, part);
                fill_backward(action, step, part);
                if (is_split) action.writes.push_back(deferred(step, part));
            } else if (step.kind == ComputationKind::backward_weight) {
                action.reads = {gradients(step.chunk), deferred(step, part)};
                action.writes = {gradients(step.chunk)};
                action.frees = {deferred(step, part)};
            } else {
                throw std::logic_error(fmt::format("lowering: no rule for {}", name_of(action)));
            }
            action.waits.insert(action.waits.end(), waits.begin(), waits.end());
            waits.clear();
            const bool is_end = &part == &parts.back();
            if (is_end && completes_gradients(step)) {
                for (const int copy : tied_gradients_of(step.chunk)) action.writes.push_back(copy);
            }
            const bool computes_loss = is_last(step.chunk) && part.is_last &&
                                       step.kind != ComputationKind::backward_weight &&
                                       (step.kind != ComputationKind::forward || !training_);
            if (computes_loss) {
                const int logits = logits_of(step, part);
                action.writes.insert(action.writes.begin(), logits);
                action.frees.push_back(logits);
            }
            last_step_ = add(std::move(action));
            if (step.kind == ComputationKind::forward && is_offloaded(step, part)) add_offload(step, part);
        }
    }

    void fill_forward(Action& action, const Computation& step, const Part& part) {
        action.reads = {parameters(step.chunk)};
        if (const auto gathered = gathers_.find(step.chunk); gathered != gathers_.end()) {
            action.waits.push_back(gathered->second);
            gathers_.erase(gathered);  // what follows on this stream need not wait again
        }
        if (const Maybe in = input(step, part)) {
            action.reads.push_back(*in);
            if (!training_) action.frees.push_back(*in);
        }
        if (is_offloaded(step, part) && leaving_.size() == kOffloadsUnderWay) {
            action.waits.push_back(leaving_.front());
            leaving_.pop_front();
        }
        if (training_ && part.group < 0) action.writes.push_back(stash(step, part));
        if (const Maybe out = output(step, part)) action.writes.push_back(*out);
    }

    void add_recomputation(const Computation& step, const Part& part) {
        Action action{.kind = ActionKind::recompute,
                      .microbatch = step.microbatch,
                      .chunk = step.chunk,
                      .group = part.group,
                      .reads = {parameters(step.chunk)},
                      .writes = {stash(step, part)}};
        if (const Maybe in = kept_input(step, part)) action.reads.push_back(*in);
        if (is_offloaded(step, part)) {
            action.frees = {copy_of_input(BufferKind::offloaded, step, part)};
            action.waits = {fetch_actions_.at(key_of(step, part))};
        }
        add(std::move(action));
    }

    void fill_backward(Action& action, const Computation& step, const Part& part) {
        action.frees = {stash(step, part)};
        if (const Maybe in = kept_input(step, part)) action.frees.push_back(*in);
        if (const Maybe gradient = output_gradient(step, part)) action.frees.push_back(*gradient);
        action.reads = {parameters(step.chunk), gradients(step.chunk)};
        action.reads.insert(action.reads.end(), action.frees.begin(), action.frees.end());
        action.writes = {gradients(step.chunk)};
        if (const Maybe gradient = input_gradient(step, part)) action.writes.push_back(*gradient);
    }

    std::vector<int> tied_gradients_of(int of_chunk) {
        std::vector<int> copies;
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            for (const int m : graph_.shared[s].modules) {
                if (holds(of_chunk, m))
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
        action_of(m) = add(std::move(action));
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

    void add_gathers(std::span<const Computation> steps) {
        for (const Computation& step : steps) {
            if (step.kind != ComputationKind::forward || gathers_.contains(step.chunk)) continue;
            gathers_[step.chunk] = add({.kind = ActionKind::gather_parameters,
                                        .chunk = step.chunk,
                                        .channel = Channel::data,
                                        .stream = Stream::communication,
                                        .bytes = parameter_bytes(step.chunk, value_bytes(graph_.precision)),
                                        .reads = {parameters(step.chunk)},
                                        .writes = {parameters(step.chunk)}});
        }
    }

    /// Behind `made`, the position of the last action that writes the chunk's gradients.
    void add_reduction(int of_chunk, int made) {
        reductions_.push_back(add({.kind = ActionKind::reduce_gradients,
                                   .chunk = of_chunk,
                                   .channel = Channel::data,
                                   .stream = Stream::communication,
                                   .bytes = parameter_bytes(of_chunk, kGradientBytes),
                                   .reads = {gradients(of_chunk)},
                                   .writes = {gradients(of_chunk)},
                                   .waits = {made}}));
    }

    /// Adds up all copies of one shared parameter, if this stage holds one: returns the action, or −1.
    int add_sum(int shared) {
        Action sum{.kind = ActionKind::sum_tied_gradients};
        for (const int m : graph_.shared[static_cast<std::size_t>(shared)].modules) {
            int of_chunk = 0;
            while (!holds(of_chunk, m)) ++of_chunk;
            if (chunk(of_chunk).stage == stage_) {
                const bool is_listed = !sum.writes.empty() && sum.writes.back() == gradients(of_chunk);
                if (!is_listed) sum.writes.push_back(gradients(of_chunk));
                sum.frees.push_back(tied(BufferKind::tied_gradient, shared, m, of_chunk));
            } else {
                const auto copy = std::find_if(messages_.begin(), messages_.end(), [&](const Message& x) {
                    return x.to_stage == stage_ && x.shared == shared && x.module == m;
                });
                if (copy == messages_.end()) return -1;  // no copy on this stage
                sum.frees.push_back(tied(BufferKind::tied_received, shared, m, copy->to_chunk));
            }
        }
        sum.reads = sum.writes;
        sum.reads.insert(sum.reads.end(), sum.frees.begin(), sum.frees.end());
        for (const Message& m : messages_) {
            if (m.shared == shared) sum.waits.push_back(action_of(m));
        }
        return add(std::move(sum));
    }

    void add_end_of_step(const std::vector<int>& outstanding) {
        std::vector<int> waited_for;
        int last_sum = -1;
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            const int sum = add_sum(static_cast<int>(s));
            if (sum < 0) continue;
            last_sum = sum;
            const auto& waits = program_.actions[static_cast<std::size_t>(sum)].waits;
            waited_for.insert(waited_for.end(), waits.begin(), waits.end());
        }
        for (int c = stage_; c < chunk_count(); c += stages_) {
            if (holds_shared(c)) add_reduction(c, last_sum);
        }
        Action step{.kind = ActionKind::optimizer_step,
                    .channel = Channel::world,
                    .reads = gradients_,
                    .writes = parameters_,
                    .waits = reductions_};
        step.reads.insert(step.reads.end(), parameters_.begin(), parameters_.end());
        for (const int transfer : outstanding) {
            if (std::find(waited_for.begin(), waited_for.end(), transfer) == waited_for.end())
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

    /// Position of the action that sends or receives a message.
    int& action_of(const Message& message) { return action_of_[static_cast<std::size_t>(&message - messages_.data())]; }

    /// BufferKind's first enumerators: one buffer for each microbatch and chunk.
    static constexpr std::size_t kPassingKinds = static_cast<std::size_t>(BufferKind::logits) + 1;

    const ModuleGraph& graph_;
    std::span<const Chunk> chunks_;
    int stage_;
    int stages_;
    int microbatches_;
    bool training_;
    bool gather_parameters_;
    int loading_horizon_;
    std::span<const Message> messages_;
    std::vector<int> action_of_;                            // by message
    std::size_t most_groups_;                               // of a chunk of this stage, at least 1
    std::vector<int> passing_;                              // buffers by kind, own chunk and microbatch
    std::map<std::tuple<BufferKind, int, int>, int> tied_;  // buffers by kind, shared parameter and module
    std::vector<int> parameters_, gradients_;               // by own chunk
    std::vector<int> reductions_;                           // positions
    std::map<int, int> gathers_;                            // positions of those that are not waited for yet, by chunk
    int last_step_ = -1;                                    // position of the compute action added last
    int tasks_ = 0;                                         // added so far
    std::map<InputKey, int> offload_actions_, fetch_actions_;                  // positions, −1 before they are added
    std::map<int, std::vector<std::pair<Computation, Part>>> fetches_before_;  // by task
    std::deque<int> leaving_;  // positions of offloads that no forward has waited for
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
        ProgramBuilder builder(graph, chunks, static_cast<int>(stage), static_cast<int>(orders.size()), microbatches,
                               options, of_stage[stage]);
        programs.push_back(builder.build(orders[stage]));
    }
    return programs;
}

}  // namespace smp::partition
