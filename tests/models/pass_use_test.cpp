// A pass takes what its sketch says: of memory at its peak and when it has ended, and in exchange with its tensor
// group, to the byte.
#include <algorithm>
#include <set>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "comms/communicator.h"
#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_spec.h"
#include "tests/counted_group.h"
#include "tests/models/reference_gpt2.h"
#include "tests/models/tensor_group.h"

namespace smp::models {
namespace {

using partition::PassUse;
using partition::Precision;

/// Counts what this thread's tensors take, while it is set, as partition::PassUse has it.
class Counter : public c10::MemoryReportingInfoBase {
  public:
    void reportMemoryUsage(void* pointer, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
        use.left += bytes;
        if (bytes > 0 && !logits) made_.insert(pointer);
        if (made_.contains(pointer)) own_ += bytes;
        if (bytes < 0) made_.erase(pointer);
        use.growth = std::max(use.growth, use.left);
        use.scratch = std::max(use.scratch, own_);
    }
    bool memoryProfilingEnabled() const override { return true; }

    PassUse use;
    bool logits = false;  // are being made

  private:
    std::set<const void*> made_;
    std::int64_t own_ = 0;
};

struct Measured {
    smp::testing::CountedGroup* group;
    std::shared_ptr<Counter> counter;  // of the pass that runs

    template <class Pass>
    PassUse of(const Pass& pass) {
        counter = std::make_shared<Counter>();
        const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
        pass();
        counter->use.exchange = group->take();
        return counter->use;
    }
    std::shared_ptr<void> making_logits() {
        counter->logits = true;
        return {nullptr, [counter = counter](void*) { counter->logits = false; }};
    }
};

void expect_equal(const PassUse& measured, const PassUse& sketched, const std::string& what) {
    EXPECT_EQ(measured.scratch, sketched.scratch) << what << ": scratch";
    EXPECT_EQ(measured.growth, sketched.growth) << what << ": growth";
    EXPECT_EQ(measured.left, sketched.left) << what << ": left";
    EXPECT_EQ(measured.exchange.rounds, sketched.exchange.rounds) << what << ": rounds";
    EXPECT_EQ(measured.exchange.bytes, sketched.exchange.bytes) << what << ": exchanged";
}

Gpt2Options model(double dropout) {
    Gpt2Options options;
    options.n_layer = 2;
    options.n_head = 4;
    options.n_embd = 32;
    options.n_positions = 64;
    options.vocab_size = 97;
    options.embd_pdrop = options.resid_pdrop = options.attn_pdrop = dropout;
    return options;
}

void expect_sketches_hold(const Gpt2Options& options, comms::Communicator& tensor_group,
                          const ActivationStorage& storage) {
    smp::testing::CountedGroup group(tensor_group);
    constexpr std::int64_t kSequences = 6, kLength = 64;  // more rows than the head has logits of at once
    const auto weights = testing::random_weights(options, at::kFloat, 1);
    const auto batch = testing::random_batch(options, kSequences, kLength, 2);
    const auto graph = module_graph(Gpt2(options), {group.size(), kSequences, kLength, storage});
    Measured measured{.group = &group, .counter = {}};
    SegmentContext context;
    context.tensor_group = &group;
    context.storage = storage;
    context.making_logits = [&] { return measured.making_logits(); };
    const auto bound =
        testing::bind_model(options, weights, 0, gpt2_module_count(options), context, value_type(storage.precision));
    Microbatch microbatch = testing::cut(batch)[0];
    Loss loss;
    for (const bool split : {false, true}) {
        const std::size_t count = bound.segments.size();
        // All inputs and gradients stay, as the sketches have it.
        std::vector<at::Tensor> inputs(count + 1), gradients(count + 1);
        std::vector<Stash> stashes(count);
        for (std::size_t i = 0; i < count; ++i) {
            Segment& segment = *bound.segments[i];
            microbatch.training = false;
            Stash none;
            expect_equal(measured.of([&] { inputs[i + 1] = segment.forward(inputs[i], none, microbatch, loss); }),
                         graph.modules[i].passes.evaluation, segment.name() + " evaluation");
            inputs[i + 1].reset();
            microbatch.training = true;
            expect_equal(measured.of([&] { inputs[i + 1] = segment.forward(inputs[i], stashes[i], microbatch, loss); }),
                         graph.modules[i].passes.forward, segment.name() + " forward");
        }
        for (std::size_t i = count; i-- > 0;) {
            Segment& segment = *bound.segments[i];
            const partition::ModulePasses& sketched = graph.modules[i].passes;
            if (split) {
                expect_equal(measured.of([&] {
                    gradients[i] = segment.backward_input(gradients[i + 1], stashes[i], microbatch, loss);
                }),
                             sketched.backward_input, segment.name() + " backward_input");
                // Kept past here only as the weight part needs it.
                gradients[i + 1].reset();
            } else {
                expect_equal(measured.of([&] {
                    gradients[i] = segment.backward(gradients[i + 1], stashes[i], microbatch, loss);
                }),
                             sketched.backward, segment.name() + " backward");
            }
        }
        for (std::size_t i = 0; split && i < count; ++i) {
            Segment& segment = *bound.segments[i];
            expect_equal(measured.of([&] { segment.backward_weight(stashes[i], microbatch); }),
                         graph.modules[i].passes.backward_weight, segment.name() + " backward_weight");
        }
    }
}

TEST(PassUse, IsWhatItsSketchSays) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
        for (const double dropout : {0.0, 0.1}) {
            for (const int degree : {1, 2}) {
                for (const auto optimize : {partition::Optimize::speed, partition::Optimize::memory}) {
                    if (degree == 1 && optimize == partition::Optimize::memory) continue;  // the same
                    for (const bool recomputes_cheap : {false, true}) {
                        SCOPED_TRACE(fmt::format("{}, dropout {}, {} tensor ranks for {}{}",
                                                 precision == Precision::fp32 ? "fp32" : "bf16", dropout, degree,
                                                 word_of(optimize), recomputes_cheap ? ", recomputing" : ""));
                        testing::on_tensor_ranks(degree, [&](comms::Communicator& group) {
                            expect_sketches_hold(model(dropout), group, {optimize, precision, recomputes_cheap});
                        });
                    }
                }
            }
        }
    }
}

}  // namespace
}  // namespace smp::models
