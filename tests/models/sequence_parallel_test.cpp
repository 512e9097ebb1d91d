// optimize = memory against speed, on the same tensor ranks: what is sharded by rows is computed row by row, and sums
// over the ranks are in rank order either way.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "comms/communicator.h"
#include "tests/counted_group.h"
#include "tests/models/reference_gpt2.h"
#include "tests/models/tensor_group.h"

namespace smp::models {
namespace {

using testing::ModelRun;
using testing::run_model;

constexpr auto kMemory = partition::Optimize::memory;

Gpt2Options model(double dropout) {
    Gpt2Options options;
    options.n_layer = 2;
    options.n_head = 4;
    options.n_embd = 24;
    options.n_positions = 20;
    options.vocab_size = 31;
    options.embd_pdrop = options.resid_pdrop = options.attn_pdrop = dropout;
    return options;
}

/// 6 sequences of 20 tokens, or two microbatches of 3: cut over 4 ranks the runs of rows begin inside sequences.
testing::Batch batch_of(std::int64_t microbatches) {
    testing::Batch batch = testing::random_batch(model(0), 6, 20, 3);
    batch.microbatches = microbatches;
    return batch;
}

// All but LayerNorms' gradients: those add the rows of each rank first, and the ranks' sums after that. Terms of some
// 100 rows are added in another order, each rounding by 2^-24 of a partial sum; partial sums are at most about ten
// times the largest gradient: √100 · 10 · 6e-8 = 6e-6. In 16 bits too: those gradients are fp32, and pieces of other
// ranks are added in fp32 and rounded once, whether all ranks get the sum or each its rows.
TEST(SequenceParallel, ChangesNoBitButOfLayerNormGradients) {
    for (const double dropout : {0.0, 0.2}) {
        const auto weights = testing::random_weights(model(dropout), at::kFloat, 4);
        for (const int degree : {2, 4}) {
            for (const auto& [microbatches, dtype] :
                 {std::pair{1, at::kFloat}, {2, at::kFloat}, {2, at::kBFloat16}, {2, at::kHalf}}) {
                SCOPED_TRACE(::testing::Message() << degree << " ranks, dropout " << dropout << ", " << dtype);
                const auto run = [&](partition::Optimize optimize) {
                    return run_model(model(dropout), weights, batch_of(microbatches),
                                     {.tensor_degree = degree, .dtype = dtype, .logits = true, .optimize = optimize});
                };
                const ModelRun speed = run(partition::Optimize::speed), memory = run(kMemory);
                EXPECT_EQ(memory.loss, speed.loss);
                EXPECT_EQ(memory.evaluation_loss, speed.evaluation_loss);
                EXPECT_TRUE(memory.logits.equal(speed.logits));
                ASSERT_EQ(memory.gradients.size(), speed.gradients.size());
                for (const auto& [name, gradient] : speed.gradients) {
                    if (name.find("ln_") == std::string::npos) {
                        EXPECT_TRUE(memory.gradients.at(name).equal(gradient)) << name;
                    } else {
                        EXPECT_LE(testing::relative_error(memory.gradients.at(name), gradient), 6e-6) << name;
                    }
                }
            }
        }
    }
}

// What a layer's forward and backward move of the tensor group, in all-gathers or reduce-scatters of [N, h]. For speed
// four all-reduces, two each; for memory the eight that these are made of, two gathers for weight gradients, and two
// more where the backward is split. The gradients are the same, split or not.
TEST(SequenceParallel, MovesWhatItSays) {
    const auto weights = testing::random_weights(model(0.2), at::kFloat, 4);
    testing::on_tensor_ranks(2, [&](comms::Communicator& tensor_ranks) {
        smp::testing::CountedGroup group(tensor_ranks);
        const auto gradients_of = [&](partition::Optimize optimize, bool split, int passes) {
            SegmentContext context;
            context.tensor_group = &group;
            context.storage.optimize = optimize;
            const auto bound = testing::bind_model(model(0.2), weights, 1, 2, context);
            const Microbatch microbatch = testing::cut(batch_of(1))[0];
            Loss loss;
            const std::int64_t rows = optimize == kMemory ? 60 : 120;
            const at::Tensor x = at::ones({rows, 24}), gradient = at::ones({rows, 24});
            Stash stash;
            group.take();
            bound.segments[0]->forward(x, stash, microbatch, loss);
            EXPECT_EQ(group.take().bytes, 4 * 60 * 24 * 4);
            if (split) {
                bound.segments[0]->backward_input(gradient, stash, microbatch, loss);
                bound.segments[0]->backward_weight(stash, microbatch);
            } else {
                bound.segments[0]->backward(gradient, stash, microbatch, loss);
            }
            EXPECT_TRUE(stash.empty());
            EXPECT_EQ(group.take().bytes, (passes - 4) * 60 * 24 * 4) << word_of(optimize) << ", split " << split;
            std::vector<at::Tensor> gradients;
            for (const ParameterView& view : bound.views[0]) gradients.push_back(view.gradient.flatten());
            return at::cat(gradients);
        };
        const auto speed = partition::Optimize::speed;
        EXPECT_TRUE(gradients_of(speed, true, 8).equal(gradients_of(speed, false, 8)));
        EXPECT_TRUE(gradients_of(kMemory, true, 12).equal(gradients_of(kMemory, false, 10)));
    });
}

// In fp64 only a row in the wrong place or a wrong mask, not rounding, could be seen at this tolerance.
TEST(SequenceParallel, IsTheModelOfOneRank) {
    const auto weights = testing::random_weights(model(0), at::kDouble, 4);
    const ModelRun one = run_model(model(0.2), weights, batch_of(1), {.dtype = at::kDouble, .logits = true});
    for (const int degree : {1, 2, 4}) {
        const ModelRun cut =
            run_model(model(0.2), weights, batch_of(2),
                      {.tensor_degree = degree, .dtype = at::kDouble, .logits = true, .optimize = kMemory});
        EXPECT_NEAR(cut.loss, one.loss, 1e-11 * one.loss);
        for (const auto& [name, gradient] : one.gradients)
            EXPECT_LE(testing::relative_error(cut.gradients.at(name), gradient), 1e-11) << name;
    }
}

}  // namespace
}  // namespace smp::models
