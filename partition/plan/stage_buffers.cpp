#include "partition/plan/stage_buffers.h"

#include <algorithm>

namespace smp::partition {
namespace {

/// BufferKind's first enumerators: one buffer for each microbatch and chunk, or group of one.
constexpr std::size_t kPassingKinds = static_cast<std::size_t>(BufferKind::logits) + 1;

}  // namespace

StageBuffers::StageBuffers(const ModuleGraph& graph, const Chunks& chunks, const Table<ChunkId, FlatSection>& sections,
                           StageId stage, int microbatches, bool training)
    : graph_(graph),
      chunks_(chunks),
      stage_(stage),
      microbatches_(static_cast<std::size_t>(microbatches)),
      training_(training),
      own_index_(chunks.size()) {
    for (const ChunkId c : chunks.ids()) {
        if (chunks[c].stage != stage) continue;
        own_index_[c] = own_chunks_.size();
        own_chunks_.push_back(c);
        most_groups_ = std::max(most_groups_, chunks[c].groups.size());
    }
    passing_.resize(kPassingKinds * own_chunks_.size() * most_groups_ * microbatches_);
    for (const ChunkId c : own_chunks_) {
        const auto flat = [&](BufferKind kind, std::int64_t element_bytes) {
            return buffers_.add({.kind = kind, .chunk = c, .bytes = element_bytes * sections[c].elements});
        };
        parameters_.push_back(flat(BufferKind::parameters, value_bytes(graph.precision)));
        if (training) gradients_.push_back(flat(BufferKind::gradients, kGradientBytes));
    }
}

/// The one buffer of its kind, microbatch, chunk (one of this stage's) and group.
BufferId StageBuffers::buffer(const Buffer& wanted) {
    const auto kind = static_cast<std::size_t>(wanted.kind);
    const std::size_t group = wanted.group == kNone ? 0 : wanted.group.index();
    const std::size_t part = (kind * own_chunks_.size() + own_index_[wanted.chunk]) * most_groups_ + group;
    BufferId& id = passing_[part * microbatches_ + wanted.microbatch.index()];
    if (id == kNone) id = buffers_.add(wanted);
    return id;
}

BufferId StageBuffers::stash(const Computation& step, const Part& part) {
    return buffer({.kind = BufferKind::stash,
                   .microbatch = step.microbatch,
                   .chunk = step.chunk,
                   .bytes = kept_bytes(graph_, part.first_module, part.end_module),
                   .group = part.group});
}

BufferId StageBuffers::deferred(const Computation& step, const Part& part) {
    std::int64_t bytes = 0;
    for (int m = part.first_module; m < part.end_module; ++m) bytes += module(m).deferred_bytes;
    return buffer({.kind = BufferKind::deferred,
                   .microbatch = step.microbatch,
                   .chunk = step.chunk,
                   .bytes = bytes,
                   .group = part.group});
}

BufferId StageBuffers::logits(const Computation& step, const Part& part) {
    return buffer({.kind = BufferKind::logits,
                   .microbatch = step.microbatch,
                   .chunk = step.chunk,
                   .bytes = module(part.end_module - 1).logits_bytes,
                   .group = part.group});
}

BufferId StageBuffers::scratch(ActionKind kind, ChunkId chunk, GroupId group, std::int64_t bytes) {
    BufferId& id = scratch_[{kind, chunk, group}];
    if (id == kNone) id = buffers_.add({.kind = BufferKind::scratch, .chunk = chunk, .bytes = bytes, .group = group});
    return id;
}

BufferId StageBuffers::reduction_scratch(int n, std::int64_t bytes) {
    BufferId& id = reduction_scratch_.at(static_cast<std::size_t>(n % kDataCollectivesAtOnce));
    if (id == kNone) id = buffers_.add({.kind = BufferKind::reduction_scratch});
    buffers_[id].bytes = std::max(buffers_[id].bytes, bytes);
    return id;
}

/// The boundary tensor before a group that is not its chunk's first, or that tensor's gradient.
BufferId StageBuffers::between_groups(BufferKind kind, const Computation& step, GroupId group) {
    const int first = chunks_[step.chunk].groups[group];
    return buffer({.kind = kind,
                   .microbatch = step.microbatch,
                   .chunk = step.chunk,
                   .bytes = module(first - 1).output_bytes,
                   .group = group});
}

StageBuffers::Maybe StageBuffers::input(const Computation& step, const Part& part) {
    if (!part.is_first) return between_groups(BufferKind::checkpoint, step, part.group);
    return step.chunk > ChunkId(0) ? Maybe(activation_in(step.microbatch, step.chunk)) : std::nullopt;
}

StageBuffers::Maybe StageBuffers::output(const Computation& step, const Part& part) {
    if (!part.is_last) return between_groups(BufferKind::checkpoint, step, part.group + 1);
    return is_last(step.chunk) ? std::nullopt : Maybe(activation_out(step.microbatch, step.chunk));
}

StageBuffers::Maybe StageBuffers::output_gradient(const Computation& step, const Part& part) {
    if (!part.is_last) return between_groups(BufferKind::checkpoint_gradient, step, part.group + 1);
    return is_last(step.chunk) ? std::nullopt : Maybe(gradient_in(step.microbatch, step.chunk));
}

StageBuffers::Maybe StageBuffers::input_gradient(const Computation& step, const Part& part) {
    if (!part.is_first) return between_groups(BufferKind::checkpoint_gradient, step, part.group);
    return step.chunk > ChunkId(0) ? Maybe(gradient_out(step.microbatch, step.chunk)) : std::nullopt;
}

BufferId StageBuffers::copy_of_input(BufferKind kind, const Computation& step, const Part& part) {
    const Maybe in = input(step, part);
    return buffer({.kind = kind,
                   .microbatch = step.microbatch,
                   .chunk = step.chunk,
                   .bytes = bytes(in.value()),
                   .group = part.group});
}

BufferId StageBuffers::activation_in(MicrobatchId microbatch, ChunkId chunk) {
    const bool has_groups = training_ && !chunks_[chunk].groups.empty();
    return buffer({.kind = BufferKind::activation_in,
                   .microbatch = microbatch,
                   .chunk = chunk,
                   .bytes = boundary_bytes(chunk),
                   .group = has_groups ? GroupId(0) : kNone});
}

BufferId StageBuffers::activation_out(MicrobatchId microbatch, ChunkId chunk) {
    if (chunks_[chunk + 1].stage == stage_) return activation_in(microbatch, chunk + 1);
    return buffer({.kind = BufferKind::activation_out,
                   .microbatch = microbatch,
                   .chunk = chunk,
                   .bytes = boundary_bytes(chunk + 1)});
}

BufferId StageBuffers::gradient_in(MicrobatchId microbatch, ChunkId chunk) {
    return buffer({.kind = BufferKind::gradient_in,
                   .microbatch = microbatch,
                   .chunk = chunk,
                   .bytes = boundary_bytes(chunk + 1)});
}

BufferId StageBuffers::gradient_out(MicrobatchId microbatch, ChunkId chunk) {
    if (chunks_[chunk - 1].stage == stage_) return gradient_in(microbatch, chunk - 1);
    return buffer(
        {.kind = BufferKind::gradient_out, .microbatch = microbatch, .chunk = chunk, .bytes = boundary_bytes(chunk)});
}

BufferId StageBuffers::tied(BufferKind kind, int shared, int module, ChunkId chunk) {
    BufferId& id = tied_[{kind, shared, module}];
    if (id == kNone) {
        id = buffers_.add({.kind = kind,
                           .chunk = chunk,
                           .shared = shared,
                           .bytes = kGradientBytes * graph_.shared[static_cast<std::size_t>(shared)].parameter_count,
                           .module = module});
    }
    return id;
}

}  // namespace smp::partition
