// The memory of one stage's program: which buffer holds what, and how large it is.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "partition/job/module_graph.h"
#include "partition/plan/action.h"
#include "partition/plan/chunk_parts.h"
#include "partition/plan/flat_section.h"
#include "partition/plan/memory_category.h"

namespace smp::partition {

/// Each buffer is made when it is first asked for, once; there is none before the first module and behind the last.
/// Between two chunks of the stage the later one's input is the earlier one's output, and the earlier one's incoming
/// gradient is the later one's outgoing one.
class StageBuffers {
  public:
    /// Makes the flat buffers of each chunk, of the elements of its section: parameters and, in training, gradients.
    /// `graph` and `chunks` must outlive the buffers.
    StageBuffers(const ModuleGraph& graph, const Chunks& chunks, const Table<ChunkId, FlatSection>& sections,
                 StageId stage, int microbatches, bool training);

    using Maybe = std::optional<BufferId>;

    const std::vector<ChunkId>& own_chunks() const { return own_chunks_; }
    BufferId parameters(ChunkId chunk) const { return parameters_[own_index_[chunk]]; }
    BufferId gradients(ChunkId chunk) const { return gradients_[own_index_[chunk]]; }
    const std::vector<BufferId>& all_parameters() const { return parameters_; }  // in order of own_chunks
    const std::vector<BufferId>& all_gradients() const { return gradients_; }

    BufferId stash(const Computation& step, const Part& part);
    BufferId deferred(const Computation& step, const Part& part);
    BufferId logits(const Computation& step, const Part& part);
    /// What such actions on a chunk (or group) of this stage share, one after another.
    BufferId scratch(ActionKind kind, ChunkId chunk, GroupId group, std::int64_t bytes);
    /// For the stage's n-th reduction of gradients, of which no more than kDataCollectivesAtOnce are under way: as many
    /// buffers, which grow to the largest that is asked for.
    BufferId reduction_scratch(int n, std::int64_t bytes);
    Maybe input(const Computation& step, const Part& part);
    Maybe output(const Computation& step, const Part& part);
    Maybe output_gradient(const Computation& step, const Part& part);
    Maybe input_gradient(const Computation& step, const Part& part);
    /// `offloaded` or `prefetched`, of an input that is there.
    BufferId copy_of_input(BufferKind kind, const Computation& step, const Part& part);

    BufferId activation_in(MicrobatchId microbatch, ChunkId chunk);
    BufferId activation_out(MicrobatchId microbatch, ChunkId chunk);
    BufferId gradient_in(MicrobatchId microbatch, ChunkId chunk);
    BufferId gradient_out(MicrobatchId microbatch, ChunkId chunk);
    /// `tied_gradient` or `tied_received`.
    BufferId tied(BufferKind kind, int shared, int module, ChunkId chunk);

    std::int64_t bytes(BufferId buffer) const { return buffers_[buffer].bytes; }
    /// By how much a computation makes what is alive on the device grow by when it has ended, ahead of what it frees.
    std::int64_t left_bytes(const Action& action) const { return partition::left_bytes(buffers_, action); }
    Table<BufferId, Buffer> take() { return std::move(buffers_); }

  private:
    const Module& module(int index) const { return graph_.modules[static_cast<std::size_t>(index)]; }
    bool is_last(ChunkId chunk) const { return chunk == chunks_.last_id(); }
    std::int64_t boundary_bytes(ChunkId before) const {
        return module(chunks_[before - 1].end_module - 1).output_bytes;
    }
    BufferId buffer(const Buffer& wanted);
    BufferId between_groups(BufferKind kind, const Computation& step, GroupId group);

    const ModuleGraph& graph_;
    const Chunks& chunks_;
    StageId stage_;
    std::size_t microbatches_;
    bool training_;
    std::vector<ChunkId> own_chunks_;
    Table<ChunkId, std::size_t> own_index_;  // into own_chunks_
    std::size_t most_groups_ = 1;            // of a chunk of this stage
    Table<BufferId, Buffer> buffers_;
    std::vector<BufferId> parameters_, gradients_;               // of own_chunks_
    std::vector<BufferId> passing_;                              // by kind, own chunk, group and microbatch
    std::map<std::tuple<BufferKind, int, int>, BufferId> tied_;  // by kind, shared parameter and module
    std::map<std::tuple<ActionKind, ChunkId, GroupId>, BufferId> scratch_;
    std::array<BufferId, kDataCollectivesAtOnce> reduction_scratch_;
};

}  // namespace smp::partition
