#include "runtime/execution/executor.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <fmt/format.h>

#include "comms/collectives/rank_order_sum.h"
#include "runtime/execution/issue.h"
#include "runtime/stage/memory_error.h"

namespace smp::runtime {

using partition::Action;
using partition::ActionKind;
using partition::Buffer;
using partition::BufferId;
using partition::BufferKind;
using partition::ChunkId;
using partition::GroupId;
using partition::kNone;

namespace {

using Kinds = std::initializer_list<BufferKind>;

// Between two chunks of one rank the later chunk's input is the earlier one's output, and the other way round for
// gradients.
constexpr Kinds kInputs = {BufferKind::activation_in, BufferKind::activation_out, BufferKind::checkpoint,
                           BufferKind::prefetched};
constexpr Kinds kGradients = {BufferKind::gradient_in, BufferKind::gradient_out, BufferKind::checkpoint_gradient};

void add_to(const at::Tensor& sum, const at::Tensor& term) {
    const std::array terms = {sum, term};
    comms::combine_in_rank_order(comms::Reduction::sum, terms, std::span(&sum, 1));
}

struct Offloaded {
    std::size_t at_once = 0;  // the most that are in host memory
    std::int64_t bytes = 0;   // of the largest
};

Offloaded offloaded_in(const partition::RankProgram& program) {
    Offloaded all;
    std::size_t now = 0;
    const auto is_offloaded = [&](BufferId id) { return program.buffers[id].kind == BufferKind::offloaded; };
    for (const Action& action : program.actions) {
        for (const BufferId id : action.writes) {
            if (!is_offloaded(id)) continue;
            all.at_once = std::max(all.at_once, ++now);
            all.bytes = std::max(all.bytes, program.buffers[id].bytes);
        }
        now -= static_cast<std::size_t>(std::ranges::count_if(action.frees, is_offloaded));
    }
    return all;
}

/// Memory for all of it, in one block.
at::Tensor host_block(const comms::RankDevice& device, const Offloaded& all) {
    const std::int64_t bytes = static_cast<std::int64_t>(all.at_once) * all.bytes;
    try {
        return device.host_memory(bytes);
    } catch (const std::bad_alloc&) {
        throw MemoryError(fmt::format(
            "out of memory before the first step: CUDA pins no {} of host memory here, for {} activations of {} that "
            "parallel.offload_activations keeps there; look at the memory of the machine and at limits on this process "
            "(ulimit -v, a container's), run fewer ranks here, lower parallel.active_microbatches, or set "
            "parallel.offload_activations = false",
            partition::shown_bytes(bytes), all.at_once, partition::shown_bytes(all.bytes)));
    }
}

/// Those in front of actions.
std::size_t joins_between(const partition::RankProgram& program) {
    std::size_t joins = 0;
    for (const Action& action : program.actions) joins += action.waits.size();
    return joins;
}

/// What the device's list took.
std::optional<IssueTime> device_time(const comms::JoinTimes& joins) {
    const auto durations = joins.durations();
    if (!durations) return std::nullopt;
    IssueTime time{.all = durations->all};
    std::ranges::copy(durations->joins, time.waited_for.begin());
    return time;
}

}  // namespace

/// The state of one execution: gone, with everything in flight, when the run ends or fails. Uses of what is not there
/// are refused, since a program may come from anywhere.
struct Executor::Execution final : public Performer {
    struct Slot {
        at::Tensor tensor;                   // boundary tensors, received gradients of tied parameters
        std::vector<models::Stash> stashes;  // of a chunk's segments: stash and deferred
        at::Tensor piece;                    // of the host ring, which `tensor` is a view of
    };

    Execution(Executor& of_rank, const Run& of_run)
        : executor(of_rank),
          run(of_run),
          program(of_run.program),
          microbatches(of_run.microbatches.begin(), of_run.microbatches.end()),
          slots(program.buffers.size()),
          meter(of_rank.meter_),
          free_pieces(of_rank.host_ring_),
          open_chunks(run.microbatches.size(), 0),
          has_backwards(std::ranges::any_of(program.actions, [](const Action& action) {
              return action.kind == ActionKind::backward || action.kind == ActionKind::backward_input;
          })) {
        const comms::RankDevice& device = *of_rank.groups_.device;
        result.losses = make_losses(microbatches.size(), device.device());
        for (models::Microbatch& each : microbatches)
            for (at::Tensor* const tokens : {&each.inputs, &each.targets})
                if (tokens->defined()) *tokens = device.copy_of(*tokens);
        if (run.consumer != nullptr && has_backwards)
            throw std::logic_error("executor: a program with backwards has no consumer");
    }

    void reach(const Action& action) override {
        if (executor.options_.before_action) executor.options_.before_action(action);
        meter.set_action(&action);
    }
    comms::Work perform(const Action& action, const std::function<void()>& on_copied) override {
        return executor.perform(*this, action, on_copied);
    }

    void awaits(Awaited what) override {
        if (joins) joins->set_kind(static_cast<int>(what));
    }
    void when_done(const std::function<void()>& note) override { executor.groups_.device->call_when_reached(note); }

    Executor& executor;
    const Run& run;
    const partition::RankProgram& program;
    std::vector<models::Microbatch> microbatches;  // tokens where the rank computes
    RunResult result;
    partition::Table<BufferId, Slot> slots;
    MemoryMeter& meter;
    std::optional<comms::JoinTimes::Run> joins;  // where they are timed
    std::vector<at::Tensor> free_pieces;         // of the host ring
    partition::Table<partition::MicrobatchId, int>
        open_chunks;  // chunks with a forward done and the backward still to come
    int active = 0;
    bool has_backwards;    // else no microbatch stays active
    bool updates = false;  // the weights, once the device comes there

    const models::Microbatch& microbatch(const Action& action) const {
        if (action.microbatch == kNone || action.microbatch.index() >= microbatches.size())
            refuse(action, fmt::format("is of no microbatch of {}", microbatches.size()));
        return microbatches[action.microbatch.index()];
    }
    models::Loss& loss(const Action& action) { return result.losses.of_microbatch[action.microbatch.index()]; }
    /// The first of `ids` whose buffer has one of `kinds`; none: nullopt.
    std::optional<BufferId> find(const std::vector<BufferId>& ids, Kinds kinds) const {
        for (const BufferId id : ids)
            if (std::find(kinds.begin(), kinds.end(), program.buffers[id].kind) != kinds.end()) return id;
        return std::nullopt;
    }
    const at::Tensor& tensor(const Action& action, BufferId id) const {
        const at::Tensor& tensor = slots[id].tensor;
        if (!tensor.defined())
            refuse(action, fmt::format("uses {}, which is not there", partition::name_of(program.buffers[id])));
        return tensor;
    }
    const at::Tensor& tensor(const Action& action, Kinds kinds) const {
        const auto id = find(action.reads, kinds);
        if (!id) refuse(action, "does not read the boundary tensor that it needs");
        return tensor(action, *id);
    }
    void put(const Action& action, BufferId id, at::Tensor tensor) {
        if (slots[id].tensor.defined())
            refuse(action, fmt::format("writes {}, which is there already", partition::name_of(program.buffers[id])));
        meter.settle(tensor, partition::category_of(program.buffers[id]));
        slots[id].tensor = std::move(tensor);
    }
    /// At the end of a pass: what it has left in the stash of a segment.
    void settle(BufferId id, const models::Stash& stash) {
        const partition::MemoryCategory category = partition::category_of(program.buffers[id]);
        for (const at::Tensor& tensor : stash) {
            // What is deferred has been something else before: activations, or a gradient that nobody else keeps.
            if (category == partition::MemoryCategory::deferred)
                meter.move(tensor, category);
            else
                meter.settle(tensor, category);
        }
    }
    /// A piece of host memory for what is shaped as `like`.
    void put_in_host_memory(const Action& action, BufferId id, const at::Tensor& like) {
        if (free_pieces.empty()) refuse(action, "finds no host memory: more is offloaded than the plan says");
        const at::Tensor piece = std::move(free_pieces.back());
        free_pieces.pop_back();
        const auto bytes = static_cast<std::int64_t>(like.nbytes());
        if (bytes > piece.numel()) refuse(action, fmt::format("offloads {} bytes, the plan says less", bytes));
        put(action, id, piece.narrow(0, 0, bytes).view(like.scalar_type()).view(like.sizes()));
        slots[id].piece = piece;
    }
    void free(BufferId id) override {
        if (slots[id].piece.defined()) free_pieces.push_back(std::move(slots[id].piece));
        slots[id] = {};
    }
    /// Takes the gradient of its output out of the buffer that the action consumes.
    at::Tensor take_gradient(const Action& action) {
        const auto id = find(action.consumes, kGradients);
        if (!id) refuse(action, "does not consume the gradient that it needs");
        tensor(action, *id);  // is there
        return std::move(slots[*id].tensor);
    }
    /// Takes the stashes of `segments` segments out of the buffer of `kind` that the action consumes.
    std::vector<models::Stash> take(const Action& action, BufferKind kind, std::size_t segments) {
        const auto id = find(action.consumes, {kind});
        if (!id) refuse(action, "does not consume what its chunk has kept");
        const Buffer& buffer = program.buffers[*id];
        if (buffer.microbatch != action.microbatch || buffer.chunk != action.chunk || buffer.group != action.group ||
            slots[*id].stashes.size() != segments)
            refuse(action, fmt::format("uses {}, which is {}", partition::name_of(buffer),
                                       slots[*id].stashes.empty() ? "not there" : "not its own"));
        return std::exchange(slots[*id].stashes, {});
    }
};

Executor::Executor(const partition::Plan& plan, const std::vector<partition::SharedParameter>& shared,
                   const RankParts& rank, ExecutorOptions options)
    : plan_(plan),
      shared_(shared),
      stage_(rank.stage),
      groups_(rank.groups),
      meter_(rank.meter),
      exchange_(rank.exchange),
      update_(rank.update),
      options_(std::move(options)) {
    const partition::RankProgram& training = plan.training[groups_.at.stage()];
    if (groups_.nccl)
        join_times_ = std::make_unique<comms::JoinTimes>(
            *groups_.device,
            comms::JoinTimes::Options{
                .kinds = kAwaited, .expected = joins_between(training), .most = options_.most_timed_joins});
    const Offloaded all = offloaded_in(training);
    if (all.at_once == 0) return;
    const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::offloaded);
    const comms::RankDevice& device = *groups_.device;
    const at::Tensor block = host_block(device, all);
    for (std::int64_t begin = 0; begin < block.numel(); begin += all.bytes)
        host_ring_.push_back(block.narrow(0, begin, all.bytes));
    if (device.is_cuda())  // pinned: no allocator tells of it
        meter_.count(partition::MemoryCategory::offloaded, block.numel());
    copies_out_ = device.make_copy_stream("copies to host memory", groups_.in_flight(), options_.copies);
    copies_in_ = device.make_copy_stream("copies from host memory", groups_.in_flight(), options_.copies);
}

RunResult Executor::run(const Run& run) {
    auto execution = meter_.with_device_memory([&] { return Execution(*this, run); });
    if (join_times_ && run.state != nullptr) execution.joins.emplace(*join_times_);
    {
        const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::other);
        const IssueTime time =
            meter_.with_device_memory([&] { return issue(run.program, execution, *groups_.in_flight(), run.times); });
        if (!groups_.device->is_cuda()) execution.result.time = time;
    }
    if (execution.joins) execution.joins->end();
    meter_.set_action(nullptr);
    if (run.meanwhile && groups_.device->is_cuda()) run.meanwhile();
    groups_.finish("the end of the program");
    if (execution.joins) execution.result.time = device_time(*join_times_);
    if (execution.updates) {
        execution.result.update = update_.result(*run.state);
        if (execution.result.update->updated) exchange_.values_updated();
    }
    return std::move(execution.result);
}

comms::Work Executor::perform(Execution& execution, const Action& action, const std::function<void()>& on_copied) {
    switch (action.kind) {
        case ActionKind::forward:
        case ActionKind::recompute: forward(execution, action); return {};
        case ActionKind::backward:
        case ActionKind::backward_input: backward(execution, action); return {};
        case ActionKind::backward_weight: backward_weight(execution, action); return {};
        case ActionKind::send: return send(execution, action);
        case ActionKind::receive: return receive(execution, action);
        case ActionKind::sum_tied_gradients: sum_tied_gradients(execution, action); return {};
        case ActionKind::sum_row_gradients: exchange_.sum_row_gradients(action); return {};
        case ActionKind::reduce_gradients: return exchange_.reduce_gradients(action);
        case ActionKind::gather_parameters: return exchange_.gather_parameters(action);
        case ActionKind::optimizer_step: update(execution, action); return {};
        case ActionKind::join: return {};
        case ActionKind::offload:
        case ActionKind::prefetch: return copy(execution, action, on_copied);
    }
    refuse(action, "is of no kind that can be executed");
}

std::span<const std::unique_ptr<models::Segment>> Executor::segments_of(const Action& action) const {
    const std::span all(stage_.chunk(action.chunk).segments);
    if (action.group == kNone) return all;
    const partition::Chunk& chunk = plan_.chunks[action.chunk];
    if (!chunk.groups.has(action.group)) refuse(action, fmt::format("is of no group of {}", chunk.groups.size()));
    const int first = first_module(action);
    return all.subspan(first - chunk.first_module, chunk.group_end(action.group) - first);
}

int Executor::first_module(const Action& action) const {
    const partition::Chunk& chunk = plan_.chunks[action.chunk];
    return action.group == kNone ? chunk.first_module : chunk.groups[action.group];
}

bool Executor::is_at_end(const Action& action) const {
    const partition::Chunk& chunk = plan_.chunks[action.chunk];
    return action.chunk == plan_.chunks.last_id() && (action.group == kNone || action.group == chunk.groups.last_id());
}

void Executor::forward(Execution& execution, const Action& action) {
    const models::Microbatch& microbatch = execution.microbatch(action);
    const bool first_time = action.kind == ActionKind::forward;
    if (execution.has_backwards && first_time && action.group <= GroupId(0)) {
        if (execution.open_chunks[action.microbatch]++ == 0) ++execution.active;
        peak_active_ = std::max(peak_active_, execution.active);
        if (execution.active > plan_.active_microbatches)
            refuse(action, fmt::format("makes {} microbatches active, the plan allows {}", execution.active,
                                       plan_.active_microbatches));
    }

    const auto segments = segments_of(action);
    const auto stash = execution.find(action.writes, {BufferKind::stash});
    ForwardConsumer* const consumer = execution.run.consumer;
    at::Tensor hidden;
    if (action.chunk > ChunkId(0) || action.group > GroupId(0)) hidden = execution.tensor(action, kInputs);
    std::vector<models::Stash> kept(segments.size());
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const bool is_head = is_at_end(action) && i + 1 == segments.size();
        const bool is_taken = is_head && consumer != nullptr && consumer->takes_head(*segments[i], hidden);
        if (!is_taken) hidden = segments[i]->forward(hidden, kept[i], microbatch, execution.loss(action));
        if (stash)
            execution.settle(*stash, kept[i]);
        else
            kept[i].clear();
        if (consumer != nullptr) consumer->made(first_module(action) + static_cast<int>(i), hidden);
    }
    const auto output = execution.find(action.writes, kInputs);
    if (first_time && output) execution.put(action, *output, hidden);
    if (stash) execution.slots[*stash].stashes = std::move(kept);
}

void Executor::backward(Execution& execution, const Action& action) {
    const models::Microbatch& microbatch = execution.microbatch(action);
    const auto segments = segments_of(action);
    at::Tensor gradient;
    if (!is_at_end(action)) gradient = execution.take_gradient(action);
    auto stashes = execution.take(action, BufferKind::stash, segments.size());
    const auto deferred = execution.find(action.writes, {BufferKind::deferred});
    const bool whole = action.kind == ActionKind::backward;
    if (whole == deferred.has_value())
        refuse(action, whole ? "defers what it does" : "does not write what its weight part needs");
    models::Loss& loss = execution.loss(action);
    for (std::size_t i = segments.size(); i-- > 0;) {
        gradient = whole ? segments[i]->backward(gradient, stashes[i], microbatch, loss)
                         : segments[i]->backward_input(gradient, stashes[i], microbatch, loss);
        if (deferred) execution.settle(*deferred, stashes[i]);
    }
    if (deferred) execution.slots[*deferred].stashes = std::move(stashes);
    if (const auto output = execution.find(action.writes, kGradients)) execution.put(action, *output, gradient);
    if (action.group <= GroupId(0) && --execution.open_chunks[action.microbatch] == 0) --execution.active;
}

void Executor::backward_weight(Execution& execution, const Action& action) {
    const models::Microbatch& microbatch = execution.microbatch(action);
    const auto segments = segments_of(action);
    auto stashes = execution.take(action, BufferKind::deferred, segments.size());
    for (std::size_t i = segments.size(); i-- > 0;) segments[i]->backward_weight(stashes[i], microbatch);
}

comms::Work Executor::copy(Execution& execution, const Action& action, const std::function<void()>& on_copied) {
    const bool leaves = action.kind == ActionKind::offload;
    if (action.reads.size() != 1 || action.writes.size() != 1 || !copies_out_)
        refuse(action, "is no copy that the plan has room for");
    const at::Tensor source = execution.tensor(action, action.reads.front());
    const BufferId to = action.writes.front();
    const MemoryMeter::Scope scope(meter_, partition::category_of(execution.program.buffers[to]));
    if (leaves)
        execution.put_in_host_memory(action, to, source);
    else
        execution.put(action, to,
                      at::empty_like(source, source.options().device(groups_.device->device()).pinned_memory(false)));
    return (leaves ? copies_out_ : copies_in_)->copy(execution.tensor(action, to), source, on_copied);
}

comms::Work Executor::send(Execution& execution, const Action& action) {
    if (action.reads.empty()) refuse(action, "has nothing to send");
    const BufferId id = action.reads.front();
    const Buffer& buffer = execution.program.buffers[id];
    const at::Tensor tensor = buffer.kind == BufferKind::tied_gradient
                                  ? stage_.gradient(stage_.copy_of(shared_[buffer.shared].name, buffer.module))
                                  : execution.tensor(action, id);
    return groups_.send(partition::edge_of(groups_.at.stage(), action), tensor);
}

comms::Work Executor::receive(Execution& execution, const Action& action) {
    if (action.writes.empty()) refuse(action, "has nothing to receive into");
    const BufferId id = action.writes.front();
    const Buffer& buffer = execution.program.buffers[id];
    const MemoryMeter::Scope scope(meter_, partition::category_of(buffer));
    at::Tensor tensor;
    if (buffer.kind == BufferKind::tied_received) {
        tensor = at::empty_like(stage_.gradient(stage_.holder_of(shared_[buffer.shared].name)));
    } else {
        const models::Microbatch& microbatch = execution.microbatch(action);
        tensor = at::empty({stage_.boundary_rows(microbatch.sequences, microbatch.length), stage_.hidden_width()},
                           stage_.flat_values().options());
    }
    execution.put(action, id, tensor);
    return groups_.receive(partition::edge_of(groups_.at.stage(), action), tensor);
}

void Executor::sum_tied_gradients(Execution& execution, const Action& action) {
    // The sum is made where the first copy of this rank has its gradient, so stages may add in different orders. Two
    // copies make the same bits all the same, since the addition of two terms commutes; more would not.
    for (const BufferId id : action.reads) {
        const Buffer& buffer = execution.program.buffers[id];
        if (buffer.kind != BufferKind::tied_gradient && buffer.kind != BufferKind::tied_received) continue;
        const std::string& shared = shared_[buffer.shared].name;
        const int holder = stage_.holder_of(shared);
        if (buffer.kind == BufferKind::tied_received)
            add_to(stage_.gradient(holder), execution.tensor(action, id));
        else if (const int copy = stage_.copy_of(shared, buffer.module); copy != holder)
            add_to(stage_.gradient(holder), stage_.gradient(copy));
    }
}

void Executor::update(Execution& execution, const Action& action) {
    if (execution.run.state == nullptr) refuse(action, "has no training state to go by");
    update_.apply(*execution.run.state, execution.result.losses);
    execution.updates = true;
}

}  // namespace smp::runtime
