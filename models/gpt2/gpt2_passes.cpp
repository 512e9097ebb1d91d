#include "models/gpt2/gpt2_passes.h"

#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_stash.h"
#include "models/pass_sketch.h"
#include "partition/job/reduction_scratch.h"

namespace smp::models {

namespace {

using partition::PassUse;

/// Bytes of the tensors that passes make.
struct Sizes {
    std::int64_t vector;     // [N'], fp32
    std::int64_t residual;   // [N', h]
    std::int64_t rows;       // [N, h]
    std::int64_t attended;   // [N, H·d]
    std::int64_t logsumexp;  // [b, H, T], fp32
    std::int64_t inner;      // [N, inner]
};

enum class Backward { split, whole };

class Sketches {
  public:
    Sketches(const Gpt2Options& options, const MicrobatchShare& share)
        : options_(options),
          share_(share),
          shard_(gpt2_shard(options, share.tensor_degree, 0)),
          shards_rows_(share.storage.optimize == partition::Optimize::memory && share.tensor_degree > 1),
          cheap_(share.storage.recomputes_cheap),
          size_(sizes()) {}

    partition::ModulePasses embedding() const {
        partition::ModulePasses passes;
        passes.forward = passes.evaluation = sketch([&](PassSketch& pass) {
            pass.make(size_.rows);
            sum_to_own_rows(pass);
        });
        if (options_.embd_pdrop > 0) {
            passes.forward = sketch([&](PassSketch& pass) {
                pass.make(size_.rows);
                sum_to_own_rows(pass);
                pass.make(size_.residual);
                pass.drop(size_.residual);
            });
        }
        const std::int64_t kept = options_.embd_pdrop > 0 ? size_.residual : 0;  // else the given gradient itself
        passes.backward_input = sketch([&](PassSketch& pass) { pass.make(kept); });
        passes.backward_weight = sketch([&](PassSketch& pass) {
            gather_rows(pass);
            drop_gathered(pass);
            pass.release(size_.residual);
        });
        passes.backward = sketch([&](PassSketch& pass) {
            pass.make(kept);
            gather_rows(pass);
            drop_gathered(pass);
            pass.drop(kept);
        });
        return passes;
    }

    partition::ModulePasses block() const {
        partition::ModulePasses passes;
        passes.forward = sketch([&](PassSketch& pass) {
            attention_forward(pass, cheap_ ? size_.residual : 0);
            mlp_forward(pass);
            if (cheap_) pass.drop(size_.residual + size_.inner);
        });
        passes.evaluation = sketch([&](PassSketch& pass) {
            attention_forward(pass, size_.residual + 2 * size_.vector + 4 * size_.attended + size_.logsumexp);
            mlp_forward(pass);
            pass.drop(size_.residual + 2 * size_.vector + 2 * size_.inner + /*middle=*/size_.residual);
        });
        passes.backward = sketch([&](PassSketch& pass) {
            mlp_backward_input(pass, Backward::whole);
            mlp_backward_weight(pass, Backward::whole);
            attention_backward_input(pass, Backward::whole);
            attention_backward_weight(pass, Backward::whole);
            pass.drop(size_.residual);  // the gradient between the halves
        });
        passes.backward_input = sketch([&](PassSketch& pass) {
            mlp_backward_input(pass, Backward::split);
            attention_backward_input(pass, Backward::split);
            if (options_.resid_pdrop > 0) pass.drop(size_.residual);  // likewise; else it stays as a branch's gradient
        });
        passes.backward_weight = sketch([&](PassSketch& pass) {
            mlp_backward_weight(pass, Backward::split);
            attention_backward_weight(pass, Backward::split);
        });
        return passes;
    }

    partition::ModulePasses head() const {
        const std::int64_t all = share_.rows(), count = std::min(all, rows_at_once());
        const std::int64_t logits = 4 * count * shard_.vocabulary, maxima = 4 * count, sums = 8 * count;
        const std::int64_t normalised = size_.residual + 2 * size_.vector;
        const auto loss_of_chunk = [&](PassSketch& pass) {
            pass.make_logits(logits);
            pass.make(maxima);
            pass.pass_by(all_reduce_scratch(maxima));
            pass.make(sums);
            pass.pass_by(all_reduce_scratch(sums));
            pass.drop(maxima);
        };
        partition::ModulePasses passes;
        passes.forward = sketch([&](PassSketch& pass) {
            pass.make(normalised);
            if (cheap_) pass.drop(size_.residual);
        });
        passes.evaluation = sketch([&](PassSketch& pass) {
            pass.make(normalised);
            gather_rows(pass);
            if (shards_rows_) pass.drop(size_.residual);
            loss_of_chunk(pass);
            exchange_losses(pass);
            pass.drop(sums);
            pass.drop_logits(logits);
            pass.drop(size_.rows + 2 * size_.vector);
        });
        passes.backward = passes.backward_input = sketch([&](PassSketch& pass) {
            if (cheap_) {
                pass.make(normalised);
                pass.drop(2 * size_.vector);
            }
            gather_rows(pass);
            pass.make(size_.rows);  // the gradient of the LayerNorm's output
            loss_of_chunk(pass);
            exchange_losses(pass);
            pass.pass_by(size_.rows / all * count);
            pass.drop(sums);
            pass.drop_logits(logits);
            sum_to_own_rows(pass);
            pass.make(size_.residual);
            drop_gathered(pass);
            pass.release(2 * size_.vector);
            if (cheap_)
                pass.drop(size_.residual);
            else
                pass.release(size_.residual);
            pass.drop(size_.residual);
        });
        return passes;
    }

  private:
    Sizes sizes() const {
        const std::int64_t own = share_.boundary_rows(), all = share_.rows(), element = share_.value_bytes();
        return {.vector = 4 * own,
                .residual = element * own * options_.n_embd,
                .rows = element * all * options_.n_embd,
                .attended = element * all * shard_.heads * shard_.head_width,
                .logsumexp = 4 * all * shard_.heads,
                .inner = element * all * shard_.inner};
    }
    template <class F>
    static PassUse sketch(const F& draw) {
        PassSketch pass;
        draw(pass);
        return pass.use();
    }
    std::int64_t all_reduce_scratch(std::int64_t bytes) const {
        return partition::all_reduce_scratch(bytes, share_.tensor_degree, share_.transport);
    }
    std::int64_t rows_at_once() const { return logits_rows(share_.storage, shard_.vocabulary); }
    /// Maxima and sums of all rows, chunk by chunk, where the sketch of the memory has the largest chunk only.
    void exchange_losses(PassSketch& pass) const {
        for (std::int64_t first = 0; first < share_.rows(); first += rows_at_once()) {
            const std::int64_t count = std::min(rows_at_once(), share_.rows() - first);
            pass.exchange(partition::two_rounds(4 * count, share_.tensor_degree));
            pass.exchange(partition::two_rounds(8 * count, share_.tensor_degree));
        }
    }

    // The operations over the tensor group, as models/tensor_rows.h has them.
    void gather_rows(PassSketch& pass) const {
        if (!shards_rows_) return;
        pass.make(size_.rows);
        pass.exchange(partition::one_round(size_.rows, share_.tensor_degree));
    }
    void drop_gathered(PassSketch& pass) const {
        if (shards_rows_) pass.drop(size_.rows);
    }
    /// Of [N, h], which the sum takes the place of.
    void sum_to_own_rows(PassSketch& pass) const {
        if (!shards_rows_) {
            pass.pass_by(all_reduce_scratch(size_.rows));
            return pass.exchange(partition::two_rounds(size_.rows, share_.tensor_degree));
        }
        pass.exchange(partition::one_round(size_.rows, share_.tensor_degree));
        pass.make(size_.residual);
        pass.pass_by(partition::reduce_scatter_scratch(size_.rows, share_.tensor_degree, share_.transport));
        pass.drop(size_.rows);
    }

    /// `forgotten`: of what it has made but its output, how much goes when it ends.
    void attention_forward(PassSketch& pass, std::int64_t forgotten) const {
        pass.make(size_.residual + 2 * size_.vector);
        gather_rows(pass);
        pass.make(3 * size_.attended);
        drop_gathered(pass);
        pass.make(size_.attended + size_.logsumexp);
        pass.make(size_.rows);  // the branch
        sum_to_own_rows(pass);
        pass.make(size_.residual);
        pass.drop(size_.residual);
        pass.drop(forgotten);
    }
    void mlp_forward(PassSketch& pass) const {
        pass.make(size_.residual + 2 * size_.vector);
        gather_rows(pass);
        pass.make(size_.inner);
        drop_gathered(pass);
        pass.make(size_.inner);
        pass.make(size_.rows);
        sum_to_own_rows(pass);
        pass.make(size_.residual);
        pass.drop(size_.residual);
    }

    /// Of the branch behind its dropout, in rows as the weight part will find them.
    void branch_gradient(PassSketch& pass) const {
        if (options_.resid_pdrop > 0) pass.make(size_.residual);
        gather_rows(pass);
    }
    void normalisation_backward(PassSketch& pass) const {
        pass.make(size_.rows);
        sum_to_own_rows(pass);
        pass.make(size_.residual);  // the input's gradient
        if (cheap_) {
            pass.make(size_.residual + 2 * size_.vector);
            pass.drop(2 * size_.vector);
        }
    }
    /// What goes when an input part ends: the LayerNorm's gradient, and, where rows are sharded and the weight part
    /// follows at once, the branch's gradient, of which that has the gathered rows.
    void end_of_input_part(PassSketch& pass, Backward backward) const {
        pass.drop(size_.residual);
        if (shards_rows_ && backward == Backward::whole && options_.resid_pdrop > 0) pass.drop(size_.residual);
    }
    void mlp_backward_input(PassSketch& pass, Backward backward) const {
        branch_gradient(pass);
        pass.make(size_.inner);
        if (backward == Backward::split) drop_gathered(pass);
        if (cheap_) pass.make(size_.inner);
        pass.release(size_.inner);
        normalisation_backward(pass);
        pass.release(size_.residual + 2 * size_.vector);  // the half's input
        end_of_input_part(pass, backward);
    }
    void attention_backward_input(PassSketch& pass, Backward backward) const {
        branch_gradient(pass);
        pass.make(size_.attended);
        if (backward == Backward::split) drop_gathered(pass);
        pass.make(3 * size_.attended);
        pass.drop(size_.attended);
        pass.release(3 * size_.attended);
        normalisation_backward(pass);
        pass.release(2 * size_.vector + size_.logsumexp);
        end_of_input_part(pass, backward);
    }

    /// Whoever has made them: what the input part leaves behind counts as the pass's own where that is one pass.
    void let_go(PassSketch& pass, Backward backward, bool kept_since_forward, std::int64_t bytes) const {
        if (backward == Backward::split || kept_since_forward)
            pass.release(bytes);
        else
            pass.drop(bytes);
    }
    void weight_part(PassSketch& pass, Backward backward, std::int64_t inner, std::int64_t gradient) const {
        if (backward == Backward::split) gather_rows(pass);  // the branch's gradient …
        gather_rows(pass);                                   // … and the LayerNorm's output
        drop_gathered(pass);
        const bool since_forward = !cheap_;
        let_go(pass, backward, since_forward, size_.residual);  // the LayerNorm's output
        let_go(pass, backward, false, gradient);
        let_go(pass, backward, since_forward || inner == size_.attended, inner);
        if (backward == Backward::split)
            pass.release(size_.residual);
        else if (!shards_rows_ && options_.resid_pdrop > 0)
            pass.drop(size_.residual);
        drop_gathered(pass);
    }
    void mlp_backward_weight(PassSketch& pass, Backward backward) const {
        weight_part(pass, backward, size_.inner, size_.inner);
    }
    void attention_backward_weight(PassSketch& pass, Backward backward) const {
        weight_part(pass, backward, size_.attended, 3 * size_.attended);
    }

    const Gpt2Options& options_;
    const MicrobatchShare& share_;
    Gpt2Shard shard_;
    bool shards_rows_, cheap_;
    Sizes size_;
};

}  // namespace

partition::ModulePasses gpt2_passes(const Gpt2Options& options, int module, const MicrobatchShare& share) {
    const Sketches sketches(options, share);
    if (module == 0) return sketches.embedding();
    return module == gpt2_module_count(options) - 1 ? sketches.head() : sketches.block();
}

}  // namespace smp::models
