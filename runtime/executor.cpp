#include "runtime/executor.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

namespace smp::runtime {

using partition::Action;
using partition::ActionKind;
using partition::Buffer;
using partition::BufferKind;

/// The state of one execution: gone, with everything in flight, when the run ends or fails.
struct Executor::Run {
    const partition::RankProgram& program;
    std::span<models::Microbatch> microbatches;
    const StepDuties& duties;
    std::vector<Slot> slots;
    std::vector<comms::Work> events;
    std::vector<int> open_chunks;  // for each microbatch: chunks with a forward done and the backward still to come
    int active = 0;

    /// The first of `ids` whose buffer has one of `kinds`; none: nullopt.
    std::optional<int> find(const std::vector<int>& ids, std::initializer_list<BufferKind> kinds) const {
        for (const int id : ids)
            if (std::find(kinds.begin(), kinds.end(), program.buffers[id].kind) != kinds.end()) return id;
        return std::nullopt;
    }
};

Executor::Executor(const partition::Plan& plan, const std::vector<partition::SharedParameter>& shared, Stage& stage,
                   RankGroups& groups)
    : plan_(plan), shared_(shared), stage_(stage), groups_(groups) {}

void Executor::run(const partition::RankProgram& program, std::span<models::Microbatch> microbatches,
                   const StepDuties& duties) {
    Run run{.program = program,
            .microbatches = microbatches,
            .duties = duties,
            .slots = {},
            .events = {},
            .open_chunks = {}};
    run.slots.resize(program.buffers.size());
    run.events.resize(program.events);
    run.open_chunks.resize(microbatches.size());
    for (const Action& action : program.actions) {
        for (const int event : action.waits) run.events[event].wait();
        perform(run, action);
        for (const int buffer : action.frees) run.slots[buffer] = {};
        groups_.progress();
    }
}

void Executor::perform(Run& run, const Action& action) {
    switch (action.kind) {
        case ActionKind::forward: return forward(run, action);
        case ActionKind::backward: return backward(run, action);
        case ActionKind::send: return send(run, action);
        case ActionKind::receive: return receive(run, action);
        case ActionKind::sum_tied_gradients: return sum_tied_gradients(run, action);
        case ActionKind::reduce_gradients: return run.duties.reduce_gradients();
        case ActionKind::optimizer_step: return run.duties.optimizer_step();
        case ActionKind::join: return;
        default: throw std::logic_error("executor: no such action here: " + partition::name_of(action));
    }
}

void Executor::forward(Run& run, const Action& action) {
    models::Microbatch& microbatch = run.microbatches[action.microbatch];
    const auto stash = run.find(action.writes, {BufferKind::stash});
    if (stash) {
        if (run.open_chunks[action.microbatch]++ == 0) ++run.active;
        peak_active_ = std::max(peak_active_, run.active);
        if (run.active > plan_.active_microbatches)
            throw std::logic_error(fmt::format("executor: {} makes {} microbatches active, the plan allows {}",
                                               partition::name_of(action), run.active, plan_.active_microbatches));
    }

    at::Tensor hidden;
    if (const auto input = run.find(action.reads, {BufferKind::activation_in, BufferKind::activation_out}))
        hidden = run.slots[*input].tensor;
    const auto& segments = stage_.chunk(action.chunk).segments;
    std::vector<models::Stash> stashes(segments.size());
    const bool holds_head = action.chunk + 1 == static_cast<int>(plan_.chunks.size());
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (holds_head && i + 1 == segments.size() && run.duties.at_head)
            run.duties.at_head(*segments[i], hidden);
        else
            hidden = segments[i]->forward(hidden, stashes[i], microbatch);
    }
    if (stash) run.slots[*stash].stashes = std::move(stashes);
    if (const auto output = run.find(action.writes, {BufferKind::activation_out, BufferKind::activation_in}))
        run.slots[*output].tensor = hidden;
}

void Executor::backward(Run& run, const Action& action) {
    models::Microbatch& microbatch = run.microbatches[action.microbatch];
    at::Tensor gradient;
    if (const auto input = run.find(action.reads, {BufferKind::gradient_in, BufferKind::gradient_out}))
        gradient = run.slots[*input].tensor;
    auto& stashes = run.slots[run.find(action.reads, {BufferKind::stash}).value()].stashes;
    const auto& segments = stage_.chunk(action.chunk).segments;
    for (std::size_t i = segments.size(); i-- > 0;) {
        gradient = segments[i]->backward_input(gradient, stashes[i], microbatch);
        segments[i]->backward_weight(stashes[i], microbatch);
    }
    if (const auto output = run.find(action.writes, {BufferKind::gradient_out, BufferKind::gradient_in}))
        run.slots[*output].tensor = gradient;
    if (--run.open_chunks[action.microbatch] == 0) --run.active;
}

void Executor::send(Run& run, const Action& action) {
    const int id = action.reads.front();
    const Buffer& buffer = run.program.buffers[id];
    const at::Tensor tensor = buffer.kind == BufferKind::tied_gradient
                                  ? stage_.gradient(stage_.holder_of(shared_[buffer.shared].name))
                                  : run.slots[id].tensor;
    comms::Work work = channel(action.channel).send(tensor, action.peer);
    if (action.signals < 0) throw std::logic_error("executor: nobody waits for " + partition::name_of(action));
    run.events[action.signals] = std::move(work);
}

void Executor::receive(Run& run, const Action& action) {
    const int id = action.writes.front();
    const Buffer& buffer = run.program.buffers[id];
    if (buffer.kind == BufferKind::tied_received) {
        run.slots[id].tensor = at::empty_like(stage_.gradient(stage_.holder_of(shared_[buffer.shared].name)));
    } else {
        const models::Microbatch& microbatch = run.microbatches[action.microbatch];
        run.slots[id].tensor = at::empty({microbatch.sequences * microbatch.length, stage_.hidden_width()},
                                         stage_.flat_values().options());
    }
    comms::Work work = channel(action.channel).receive(run.slots[id].tensor, action.peer);
    if (action.signals < 0) throw std::logic_error("executor: nobody waits for " + partition::name_of(action));
    run.events[action.signals] = std::move(work);
}

void Executor::sum_tied_gradients(Run& run, const Action& action) {
    stage_.sum_local_tied_gradients();
    // Two copies at most in GPT-2, and addition of two terms commutes: both stages get the same bits.
    for (const int id : action.reads) {
        const Buffer& buffer = run.program.buffers[id];
        if (buffer.kind == BufferKind::tied_received)
            stage_.gradient(stage_.holder_of(shared_[buffer.shared].name)).add_(run.slots[id].tensor);
    }
}

comms::Communicator& Executor::channel(partition::Channel channel) {
    switch (channel) {
        case partition::Channel::activations: return *groups_.activations;
        case partition::Channel::gradients: return *groups_.gradients;
        case partition::Channel::tied: return *groups_.tied;
        case partition::Channel::data: return *groups_.data;
        case partition::Channel::world: return *groups_.world;
        case partition::Channel::none: break;
    }
    throw std::logic_error("executor: a message without a channel");
}

}  // namespace smp::runtime
