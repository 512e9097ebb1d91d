// What one rank holds: the segments of its chunks, and the flat buffers that their parameters and gradients are views
// of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/model.h"
#include "models/segment.h"
#include "partition/job/options.h"
#include "partition/plan/plan.h"
#include "runtime/stage/memory_meter.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/state/stage_layout.h"

namespace smp::runtime {

class Stage {
  public:
    /// Allocates zeroed buffers, values as the precision of `parallel` says, which initial weights fill. `groups` and
    /// `meter` must outlive the stage. Local.
    Stage(const models::Model& model, const partition::Plan& plan, RankGroups& groups, MemoryMeter& meter,
          const partition::ParallelOptions& parallel, at::Device device);

    struct LocalChunk {
        partition::ChunkId index = {};
        std::vector<std::unique_ptr<models::Segment>> segments;
    };

    const std::vector<LocalChunk>& chunks() const { return chunks_; }
    /// Throws std::logic_error for a chunk of another rank.
    const LocalChunk& chunk(partition::ChunkId index) const { return chunks_[section(index)]; }
    /// Which section of layout() has the chunk's parameters. Throws likewise.
    int section(partition::ChunkId chunk) const;

    /// Parameters of all chunks, in order of their modules; indices below are into this list.
    const std::vector<models::Parameter>& parameters() const { return layout_.parameters; }
    /// Index in the graph of the module that a parameter is of.
    int module_of(int parameter) const { return layout_.modules[parameter]; }
    const FlatLayout& layout() const { return layout_.flat; }
    /// Of the values.
    partition::Precision precision() const { return precision_; }
    /// Views shaped as Parameter::local_shape. gradient() of a tied parameter is its own buffer even where the values
    /// are shared.
    const at::Tensor& value(int parameter) const { return views_[parameter].value; }
    const at::Tensor& gradient(int parameter) const { return views_[parameter].gradient; }
    /// Index of a parameter of this rank, −1 if it has none of that name.
    int find(const std::string& name) const;

    /// [layout().elements], values as the precision says, gradients fp32.
    const at::Tensor& flat_values() const { return flat_values_; }
    const at::Tensor& flat_gradients() const { return flat_gradients_; }

    /// Elements of the flat buffers that this rank counts in the global norm: each logical parameter is counted by one
    /// tensor rank (all, where sharded), and a tied one by the stage of the embedding.
    const std::vector<Range>& counted() const { return counted_; }

    std::int64_t hidden_width() const { return hidden_width_; }
    /// Rows of a boundary tensor that this rank holds, of a microbatch of `sequences` of `length` tokens.
    std::int64_t boundary_rows(std::int64_t sequences, std::int64_t length) const;
    /// Gradients of a chunk that cover this tensor rank's rows only, to be summed over the tensor
    /// group before they are used (Parameter::follows_rows); none where rows are not sharded.
    std::vector<at::Tensor> row_gradients(partition::ChunkId chunk) const;
    void zero_gradients();
    /// Index of module `module`'s (of the graph) parameter that is, or is tied to, the shared one. Throws
    /// std::logic_error where this rank has none.
    int copy_of(const std::string& shared, int module) const;
    /// Of the first copy on this rank: its gradient lies in the flat buffer, and there the sum of all copies goes.
    int holder_of(const std::string& shared) const;

  private:
    std::int64_t hidden_width_ = 0;
    int tensor_degree_ = 1;
    partition::Optimize optimize_;
    partition::Precision precision_;
    StageLayout layout_;
    std::vector<LocalChunk> chunks_;
    at::Tensor flat_values_;
    at::Tensor flat_gradients_;
    std::vector<models::ParameterView> views_;
    std::vector<Range> counted_;
};

}  // namespace smp::runtime
