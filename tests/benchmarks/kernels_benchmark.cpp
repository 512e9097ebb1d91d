// Each operator beside ATen's, in the shapes of GPT-2 with h 512, 8 heads, vocabulary 8192, 2 sequences of 256 tokens:
//   ninja -C build smp_kernels_benchmark && build/bin/smp_kernels_benchmark --benchmark_enable_random_interleaving=true
// The number after the name is that of intra-op threads. Compare lines of one run; absolute times move with the
// machine.
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/kernels.h"

namespace {

using at::Tensor;
namespace own = smp::models::kernels;
namespace twin = smp::models::kernels::aten;

constexpr std::int64_t kRows = 512, kWidth = 512, kInner = 2048, kVocabulary = 8192, kChunk = 256;
const own::AttentionShape kAttention{.sequences = 2, .length = 256, .heads = 8, .head_width = 64};

own::DropoutKey dropout(double probability) { return {.probability = probability, .seed = 1, .length = 256}; }

/// `flops` 0: no rate is shown.
void add(const std::string& name, double flops, const std::function<void()>& f) {
    for (const int threads : {1, 2})
        benchmark::RegisterBenchmark((name + "/" + std::to_string(threads)).c_str(),
                                     [f, threads, flops](benchmark::State& state) {
                                         at::set_num_threads(threads);
                                         for (auto step : state) {
                                             (void)step;
                                             f();
                                         }
                                         if (flops > 0)
                                             state.counters["flop/s"] = benchmark::Counter(
                                                 flops, benchmark::Counter::kIsIterationInvariantRate);
                                     })
            ->Unit(benchmark::kMicrosecond)
            ->UseRealTime();
}

void add_products() {
    struct Shape {
        std::string name;
        std::int64_t rows, in, out;
    };
    for (const auto& [name, rows, in, out] : std::vector<Shape>{{"qkv", kRows, kWidth, 3 * kWidth},
                                                                {"projection", kRows, kWidth, kWidth},
                                                                {"up", kRows, kWidth, kInner},
                                                                {"down", kRows, kInner, kWidth},
                                                                {"head", kChunk, kVocabulary, kWidth}}) {
        const Tensor x = at::randn({rows, in}), w = at::randn({in, out}), b = at::randn({out}),
                     dy = at::randn({rows, out});
        const Tensor dw = at::zeros({in, out});
        const double flops = 2.0 * static_cast<double>(rows * in * out);
        add("linear/" + name + "/own", flops, [=] { benchmark::DoNotOptimize(own::linear(x, w, b)); });
        add("linear/" + name + "/aten", flops, [=] { benchmark::DoNotOptimize(twin::linear(x, w, b)); });
        add("backward_input/" + name + "/own", flops,
            [=] { benchmark::DoNotOptimize(own::linear_backward_input(dy, w)); });
        add("backward_input/" + name + "/aten", flops,
            [=] { benchmark::DoNotOptimize(twin::linear_backward_input(dy, w)); });
        add("backward_weight/" + name + "/own", flops, [=] { own::linear_backward_weight(dw, x, dy); });
        add("backward_weight/" + name + "/aten", flops, [=] { twin::linear_backward_weight(dw, x, dy); });
    }
}

void add_rows() {
    const Tensor x = at::randn({kRows, kWidth}), dy = at::randn({kRows, kWidth}), g = at::randn({kWidth}),
                 b = at::randn({kWidth});
    const Tensor dg = at::zeros({kWidth}), db = at::zeros({kWidth}), sums = at::zeros({kInner});
    const auto n = own::layer_norm(x, g, b, 1e-5);
    add("layer_norm/own", 0, [=] { benchmark::DoNotOptimize(own::layer_norm(x, g, b, 1e-5)); });
    add("layer_norm/aten", 0, [=] { benchmark::DoNotOptimize(twin::layer_norm(x, g, b, 1e-5)); });
    add("layer_norm_backward/own", 0, [=] {
        benchmark::DoNotOptimize(own::layer_norm_backward_input(dy, x, n.mean, n.rstd, g, dy));
        own::layer_norm_backward_weight(dg, db, dy, x, n.mean, n.rstd);
    });
    add("layer_norm_backward/aten", 0, [=] {
        const auto [dx, gain, bias] = at::native_layer_norm_backward(dy, x, {kWidth}, n.mean.unsqueeze(1),
                                                                     n.rstd.unsqueeze(1), g, b, {true, true, true});
        dx.add_(dy);
        dg.add_(gain);
        db.add_(bias);
    });
    const Tensor wide = at::randn({kRows, kInner}), up = at::randn({kRows, kInner});
    add("gelu/own", 0, [=] { benchmark::DoNotOptimize(own::gelu(wide)); });
    add("gelu/aten", 0, [=] { benchmark::DoNotOptimize(twin::gelu(wide)); });
    // In place, so the gradient would shrink to nothing over many turns: ones in front each time.
    add("gelu_backward/own", 0, [=] {
        up.fill_(1);
        own::gelu_backward(up, wide);
    });
    add("gelu_backward/aten", 0, [=] {
        up.fill_(1);
        twin::gelu_backward(up, wide);
    });
    add("column_sums/own", 0, [=] { own::accumulate_column_sums(sums, wide); });
    add("column_sums/aten", 0, [=] { twin::accumulate_column_sums(sums, wide); });
    for (const double probability : {0.0, 0.1}) {
        const std::string name = probability > 0 ? "add_residual_dropout" : "add_residual";
        add(name + "/own", 0, [=] { benchmark::DoNotOptimize(own::add_residual(x, dy, b, dropout(probability))); });
        add(name + "/aten", 0, [=] {  // with ATen's own mask
            const Tensor branch = dy + b;
            benchmark::DoNotOptimize(probability > 0 ? x + at::dropout(branch, probability, true) : x + branch);
        });
    }
}

void add_attention() {
    const Tensor qkv = at::randn({kRows, 3 * kWidth}), dout = at::randn({kRows, kWidth});
    for (const double probability : {0.0, 0.1}) {
        const std::string name = probability > 0 ? "attention_dropout" : "attention";
        const auto done = own::attention(qkv, kAttention, dropout(probability));
        add(name + "/own", 0, [=] { benchmark::DoNotOptimize(own::attention(qkv, kAttention, dropout(probability))); });
        add(name + "_backward/own", 0, [=] {
            benchmark::DoNotOptimize(
                own::attention_backward(dout, qkv, done.out, done.logsumexp, kAttention, dropout(probability)));
        });
    }
    // ATen's flash attention, on heads that lie where they lie, its gradients gathered into one tensor.
    const auto heads = [](const Tensor& x, std::int64_t part) {
        return x.view({2, 256, 3, 8, 64}).select(2, part).transpose(1, 2);
    };
    const auto flash = [=] {
        return at::_scaled_dot_product_flash_attention_for_cpu(heads(qkv, 0), heads(qkv, 1), heads(qkv, 2), 0, true);
    };
    const auto [out, logsumexp] = flash();
    add("attention/aten", 0, [=] { benchmark::DoNotOptimize(flash()); });
    add("attention_backward/aten", 0, [=, o = out, l = logsumexp] {
        const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
            dout.view({2, 256, 8, 64}).transpose(1, 2), heads(qkv, 0), heads(qkv, 1), heads(qkv, 2), o, l, 0, true);
        benchmark::DoNotOptimize(
            at::stack({dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2)}, 2).view({512, 1536}));
    });
}

void add_loss() {
    const Tensor logits = at::randn({kChunk, kVocabulary}), work = logits.clone();
    const Tensor targets = at::randint(kVocabulary, {kChunk}, at::kLong);
    add("cross_entropy/own", 0, [=] {
        work.copy_(logits);
        const Tensor maxima = own::row_maxima(work, kVocabulary);
        const Tensor sums = own::exponential_sums(work, maxima, targets, 0, kVocabulary);
        benchmark::DoNotOptimize(own::cross_entropy_sum(sums));
        own::cross_entropy_gradient(work, sums, targets, 0, 1, at::kFloat);
    });
    add("cross_entropy/aten", 0, [=] {
        const Tensor log_softmax = logits.log_softmax(1);
        const auto [loss, weight] = at::nll_loss_forward(log_softmax, targets, {}, at::Reduction::Sum, -100);
        const Tensor d =
            at::nll_loss_backward(at::ones({}), log_softmax, targets, {}, at::Reduction::Sum, -100, weight);
        benchmark::DoNotOptimize(at::_log_softmax_backward_data(d, log_softmax, 1, at::kFloat));
    });
    const Tensor ids = at::randint(kVocabulary, {kRows}, at::kLong), dy = at::randn({kRows, kWidth}),
                 table = at::randn({kVocabulary, kWidth});
    add("embedding/own", 0, [=] {
        benchmark::DoNotOptimize(own::embed_tokens(ids, table, 0));
        own::accumulate_token_gradient(table, dy, ids, 0);
    });
    add("embedding/aten", 0, [=] {
        benchmark::DoNotOptimize(twin::embed_tokens(ids, table, 0));
        twin::accumulate_token_gradient(table, dy, ids, 0);
    });
}

}  // namespace

int main(int count, char** values) {
    add_products();
    add_rows();
    add_attention();
    add_loss();
    benchmark::Initialize(&count, values);
    benchmark::RunSpecifiedBenchmarks();
}
