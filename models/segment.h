// A segment: the unit of explicit forward and backward. A chunk of the pipeline is a list of segments, one for each
// module of the graph.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "models/microbatch_share.h"
#include "models/parameter.h"
#include "models/stash.h"

namespace smp::comms {
class Communicator;
}

namespace smp::models {

/// What one microbatch is, for the segments that ask.
struct Microbatch {
    std::int64_t sequences = 0;       // b
    std::int64_t length = 0;          // T
    std::int64_t first_sequence = 0;  // position of its first sequence in the global batch: keys dropout
    std::uint64_t seed = 0;           // training.seed
    std::uint64_t step = 0;           // from 0: keys dropout
    bool training = true;             // dropout on, stash kept
    double gradient_scale =
        1;               // d(objective)/d(one token's loss): 1 / (tokens of the global batch), times the loss scale
    at::Tensor inputs;   // int64 [b, T], where the first module lives
    at::Tensor targets;  // int64 [b, T], where the last module lives
};

/// What the last module makes of a microbatch besides tensors. It adds to it; all others leave it alone.
class Loss {
  public:
    /// Kept on the host.
    Loss() = default;
    /// Kept in `slot`, fp64 [1], zero so far, and added to in the order of its stream: the host does not wait.
    explicit Loss(at::Tensor slot) : slot_(std::move(slot)) {}

    /// −log p(target) of the rows of `sums` (kernels::exponential_sums, over the tensor group).
    void add(const at::Tensor& sums);
    /// Over the microbatch's tokens, added in a fixed order. Waits for the slot's stream.
    double sum() const;

  private:
    double sum_ = 0;
    at::Tensor slot_;
};

/// What a segment keeps of one microbatch from pass to pass: a tensor a row of its table (models/stash.h), undefined
/// where that row has not been made yet or is used up. Empty ahead of forward, after backward_weight, and where nothing
/// is kept.
using Stash = std::vector<at::Tensor>;

/// Forgets the tensors that `pass` is the last to use. `stash` begins with the table's.
template <class Extent, std::size_t n>
void drop_used(std::span<at::Tensor> stash, const std::array<KeptTensor<Extent>, n>& table, Pass pass) {
    for (std::size_t i = 0; i < n; ++i)
        if (table[i].used <= pass) stash[i].reset();
}

/// What values in a precision are to LibTorch.
constexpr at::ScalarType value_type(partition::Precision precision) {
    switch (precision) {
        case partition::Precision::bf16: return at::kBFloat16;
        case partition::Precision::fp16: return at::kHalf;
        case partition::Precision::fp32: break;
    }
    return at::kFloat;
}

/// Values and gradient of one parameter of a segment: views into flat buffers that the runtime owns, shaped as
/// Parameter::local_shape, values as SegmentContext::storage says. Gradients are accumulated into `gradient` (fp32),
/// never overwritten.
struct ParameterView {
    at::Tensor value;
    at::Tensor gradient;
};

/// What segments need of the world around them.
struct SegmentContext {
    comms::Communicator* tensor_group = nullptr;  // never null in use; size 1 without tensor parallelism
    std::function<void()> progress = [] {};       // called at operator boundaries, so that transfers in flight move on
    /// Called ahead of making logits; what it returns lives until they are made. Whoever counts memory tells them from
    /// other tensors by that.
    std::function<std::shared_ptr<void>()> making_logits = [] { return nullptr; };
    std::uint64_t tensor_parallel_seed = 0;  // mixed into dropout keys of what tensor parallelism shards; 0: as if none
    /// Optimize::memory: boundary tensors are sharded by rows. The precision is that of parameters' values too.
    ActivationStorage storage = {};
};

class Segment {
  public:
    virtual ~Segment() = default;

    /// Module name: "wte", "h.3", "lm_head".
    virtual const std::string& name() const = 0;
    virtual const std::vector<Parameter>& parameters() const = 0;
    /// Gives the segment its storage; `views` in the order of parameters().
    virtual void bind(std::vector<ParameterView> views) = 0;

    /// input: boundary tensor [N', h] (undefined for the first module, which reads microbatch.inputs) → boundary tensor
    /// [N', h] (undefined from the last). N' is N = b·T; with Optimize::memory, N / size of the tensor
    /// group: rank r then holds rows [r·N', (r + 1)·N') of the microbatch's N, of every boundary tensor and of
    /// its gradient; N must divide (std::logic_error). Collective over the tensor group. With microbatch.training the
    /// stash is filled; otherwise it stays empty. The input may be kept, never changed. The last module's forward in
    /// training only normalises: its loss is computed in backward_input, chunk by chunk beside the gradient of the
    /// logits, so that logits exist once and for one chunk; in evaluation forward adds
    /// it to `loss`.
    virtual at::Tensor forward(const at::Tensor& input, Stash& stash, const Microbatch& microbatch, Loss& loss) = 0;
    /// gradient of the output (undefined for the last module, whose loss starts it and is added to `loss`) → gradient
    /// of the input (undefined from the first module). Collective over the tensor group. Leaves in the stash what
    /// backward_weight needs, the given gradient possibly among it; never changes that. Where it costs little and
    /// spares memory, weight gradients are accumulated here already (LayerNorms', and the head's, since logits exist
    /// nowhere else), so both parts run in the order of microbatches.
    virtual at::Tensor backward_input(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch,
                                      Loss& loss) = 0;
    /// Accumulates the other weight gradients and empties the stash. Local; with Optimize::memory collective
    /// over the tensor group, since what is stashed of sharded rows is gathered again.
    virtual void backward_weight(Stash& stash, const Microbatch& microbatch) = 0;
    /// Both parts at once, where the backward is not split: the same numbers, and an empty stash. Collective over the
    /// tensor group. A segment whose parts need the same rows of other ranks fetches them once.
    virtual at::Tensor backward(const at::Tensor& gradient, Stash& stash, const Microbatch& microbatch, Loss& loss) {
        at::Tensor input_gradient = backward_input(gradient, stash, microbatch, loss);
        backward_weight(stash, microbatch);
        return input_gradient;
    }

    /// For sampling. Boundary tensor, as forward takes it → logits [count, vocabulary], fp32, of rows
    /// [first, first + count) of the microbatch, on the CPU of every tensor rank: they exist at once, over the whole
    /// vocabulary.
    /// Collective over the tensor group. The last module's only; any other throws std::logic_error.
    virtual at::Tensor logits(const at::Tensor& input, std::int64_t first, std::int64_t count);
};

}  // namespace smp::models
