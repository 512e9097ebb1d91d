// Memory is what is declared and nothing else.
#include <algorithm>
#include <set>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include "comms/communicator.h"
#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_spec.h"
#include "models/gpt2/gpt2_stash.h"
#include "tests/models/reference_gpt2.h"
#include "tests/models/tensor_group.h"

namespace smp::models {
namespace {

using partition::Precision;

Gpt2Options model() {
    Gpt2Options options;
    options.n_layer = 2;
    options.n_head = 4;
    options.n_embd = 32;
    options.n_positions = 64;
    options.vocab_size = 97;
    return options;
}

struct Choice {
    double dropout;
    int degree;
    partition::Optimize optimize;
    bool recomputes_cheap;
};
std::vector<Choice> choices() {
    std::vector<Choice> all;
    for (const double dropout : {0.0, 0.1})
        for (const int degree : {1, 2, 4})
            for (const auto optimize : {partition::Optimize::speed, partition::Optimize::memory})
                for (const bool recomputes_cheap : {false, true})
                    all.push_back({dropout, degree, optimize, recomputes_cheap});
    return all;
}

/// Behind `pass` the stash holds the tensors that are declared to be kept, in their places, with the declared sizes, of
/// storages that are in none of `storages` yet, so that none keeps more alive than it shows and nothing is counted
/// twice.
void expect_as_declared(const Stash& stash, const std::vector<StashEntry>& declared, Pass pass,
                        std::int64_t bytes_of_module, std::set<const void*>& storages, const std::string& module) {
    ASSERT_EQ(stash.size(), declared.size()) << module;
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < stash.size(); ++i) {
        ASSERT_EQ(stash[i].defined(), is_kept(declared[i], pass)) << module << " " << declared[i].name;
        if (!stash[i].defined()) continue;
        EXPECT_EQ(static_cast<std::int64_t>(stash[i].storage().nbytes()), declared[i].bytes)
            << module << " " << declared[i].name;
        EXPECT_TRUE(storages.insert(stash[i].storage().data()).second) << module << " " << declared[i].name;
        // The boundary tensor: counted where it is made.
        if (declared[i].name != "input" || pass != Pass::forward) bytes += declared[i].bytes;
    }
    EXPECT_EQ(bytes, bytes_of_module) << module;
}

/// Counts what this thread's tensors take, while it is set.
class LiveBytes : public c10::MemoryReportingInfoBase {
  public:
    void reportMemoryUsage(void* /*pointer*/, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
        live += bytes;
        peak = std::max(peak, live);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t live = 0, peak = 0;
};

template <typename Action>
std::int64_t peak_bytes(Action&& action) {
    const auto counter = std::make_shared<LiveBytes>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
    action();
    return counter->peak;
}

TEST(Stash, IsWhatIsDeclaredEntryByEntry) {
    for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16}) {
        for (const auto& [dropout, degree, optimize, recomputes_cheap] : choices()) {
            Gpt2Options options = model();
            options.embd_pdrop = options.resid_pdrop = options.attn_pdrop = dropout;
            const auto weights = testing::random_weights(options, at::kFloat, 1);
            const auto batch = testing::random_batch(options, 3, 64, 2);
            const ActivationStorage storage{optimize, precision, recomputes_cheap};
            const MicrobatchShare share{.tensor_degree = degree, .sequences = 3, .length = 64, .storage = storage};
            const auto graph = module_graph(Gpt2(options), share);
            testing::on_tensor_ranks(degree, [&](comms::Communicator& group) {
                SegmentContext context;
                context.tensor_group = &group;
                context.storage.optimize = optimize;
                context.storage.recomputes_cheap = recomputes_cheap;
                const auto bound = testing::bind_model(options, weights, 0, gpt2_module_count(options), context,
                                                       value_type(precision));
                const Microbatch microbatch = testing::cut(batch)[0];
                Loss loss;
                at::Tensor x;
                for (std::size_t i = 0; i < bound.segments.size(); ++i) {
                    const Segment& segment = *bound.segments[i];
                    const auto declared = gpt2_stash(options, static_cast<int>(i), share);
                    Stash stash;
                    x = bound.segments[i]->forward(x, stash, microbatch, loss);
                    std::set<const void*> storages;
                    expect_as_declared(stash, declared, Pass::forward, graph.modules[i].stash_bytes, storages,
                                       segment.name());
                    EXPECT_EQ(x.defined() ? static_cast<std::int64_t>(x.nbytes()) : 0, graph.modules[i].output_bytes);
                    std::int64_t parameters = 0;
                    for (const auto& view : bound.views[i]) parameters += view.value.numel();
                    EXPECT_EQ(parameters, graph.modules[i].parameter_count) << segment.name();
                }
            });
        }
    }
}

// Between the two parts of the backward of a whole chain, with every stash alive: what is declared, once, and nothing
// else. Without dropout a layer keeps the gradient that it was given, which the layer above made and forgot.
TEST(Deferred, IsWhatIsDeclaredOverTheWholeChain) {
    for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16}) {
        for (const auto& [dropout, degree, optimize, recomputes_cheap] : choices()) {
            Gpt2Options options = model();
            options.embd_pdrop = options.resid_pdrop = options.attn_pdrop = dropout;
            const auto weights = testing::random_weights(options, at::kFloat, 1);
            const auto batch = testing::random_batch(options, 3, 64, 2);
            const ActivationStorage storage{optimize, precision, recomputes_cheap};
            const MicrobatchShare share{.tensor_degree = degree, .sequences = 3, .length = 64, .storage = storage};
            const auto graph = module_graph(Gpt2(options), share);
            testing::on_tensor_ranks(degree, [&](comms::Communicator& group) {
                SegmentContext context;
                context.tensor_group = &group;
                context.storage.optimize = optimize;
                context.storage.recomputes_cheap = recomputes_cheap;
                const auto bound = testing::bind_model(options, weights, 0, gpt2_module_count(options), context,
                                                       value_type(precision));
                const Microbatch microbatch = testing::cut(batch)[0];
                Loss loss;
                std::vector<Stash> stashes(bound.segments.size());
                const auto counter = std::make_shared<LiveBytes>();
                const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
                at::Tensor x, gradient;
                for (std::size_t i = 0; i < bound.segments.size(); ++i)
                    x = bound.segments[i]->forward(x, stashes[i], microbatch, loss);
                for (std::size_t i = bound.segments.size(); i-- > 0;)
                    gradient = bound.segments[i]->backward_input(gradient, stashes[i], microbatch, loss);

                std::set<const void*> storages;
                std::int64_t declared = 0;
                for (std::size_t i = 0; i < bound.segments.size(); ++i) {
                    const Segment& segment = *bound.segments[i];
                    expect_as_declared(stashes[i], gpt2_stash(options, static_cast<int>(i), share),
                                       Pass::backward_input, graph.modules[i].deferred_bytes, storages, segment.name());
                    if (graph.modules[i].is_layer && !recomputes_cheap) {
                        EXPECT_LE(graph.modules[i].deferred_bytes,
                                  graph.modules[i].stash_bytes + graph.modules[i - 1].output_bytes);
                    }
                    declared += graph.modules[i].deferred_bytes;
                }
                if (degree == 1) {  // else other ranks' threads free some of this one's memory
                    EXPECT_EQ(counter->live, declared);
                }
                for (std::size_t i = 0; i < bound.segments.size(); ++i) {
                    bound.segments[i]->backward_weight(stashes[i], microbatch);
                    EXPECT_TRUE(stashes[i].empty());
                }
                if (degree == 1) {
                    EXPECT_EQ(counter->live, 0);
                }
            });
        }
    }
}

TEST(Head, TakesMoreRowsAtOnceOnCuda) {
    EXPECT_EQ(logits_rows({}, 50304), 256);
    const ActivationStorage cuda = storage_of({}, partition::Device::cuda);
    EXPECT_EQ(logits_rows(cuda, 50304), 5120);  // 1 GiB is 5,336 rows
    EXPECT_EQ(logits_rows(cuda, 7), 8192);
    EXPECT_EQ(logits_rows(cuda, 100'000'000), 256);
}

// 1,024 rows of 4,000 logits are 16 MB; a chunk of 256 rows is 4 MB. Beside it: the chunk's targets, maxima and sums,
// and gradients of [1024, 32] (128 KB each).
TEST(Head, HoldsTheLogitsOfOneChunkOnly) {
    Gpt2Options options = model();
    options.vocab_size = 4000;
    const auto weights = testing::random_weights(options, at::kFloat, 1);
    const auto batch = testing::random_batch(options, 16, 64, 2);
    testing::on_tensor_ranks(1, [&](comms::Communicator& group) {
        SegmentContext context;
        context.tensor_group = &group;
        const int head = gpt2_module_count(options) - 1;
        const auto bound = testing::bind_model(options, weights, head, head + 1, context);
        Microbatch microbatch = testing::cut(batch)[0];
        Loss loss;
        const at::Tensor x = at::randn({1024, 32});
        constexpr std::int64_t kChunk = 256 * 4000 * 4, kBeside = 4 * 1024 * 32 * 4 + 64 * 1024;
        const std::int64_t training = peak_bytes([&] {
            Stash stash;
            bound.segments[0]->forward(x, stash, microbatch, loss);
            bound.segments[0]->backward_input({}, stash, microbatch, loss);
        });
        EXPECT_GE(training, kChunk);
        EXPECT_LE(training, kChunk + kBeside);
        microbatch.training = false;
        const std::int64_t evaluation = peak_bytes([&] {
            Stash stash;
            bound.segments[0]->forward(x, stash, microbatch, loss);
        });
        EXPECT_GE(evaluation, kChunk);
        EXPECT_LE(evaluation, kChunk + kBeside);
    });
}

}  // namespace
}  // namespace smp::models
