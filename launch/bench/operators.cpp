#include "launch/bench/operators.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "launch/bench/answer.h"
#include "launch/bench/statistics.h"
#include "launch/build_facts.h"
#include "launch/command/text_table.h"
#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_stash.h"
#include "models/kernels/kernels.h"
#include "models/segment.h"

namespace smp::launch {

namespace {

using at::Tensor;
namespace kernels = models::kernels;

/// Sizes of one rank's share of a microbatch.
struct Sizes {
    std::int64_t sequences, length, rows, width, attended, heads, head_width, inner, vocabulary;
    at::ScalarType type;
};

Sizes sizes_of(const Config& config, int ranks) {
    const auto degrees = partition::degrees_in(config.parallel, ranks);
    const models::Gpt2Shard shard = models::gpt2_shard(config.gpt2, degrees.tp, 0);
    Sizes sizes{};
    sizes.sequences = runtime::global_batch(config.training, config.parallel, degrees.rdp) / degrees.rdp /
                      config.parallel.microbatches;
    sizes.length = runtime::sequence_length(config.training, config.model.spec->longest_sequence());
    sizes.rows = sizes.sequences * sizes.length;
    sizes.width = config.gpt2.n_embd;
    sizes.heads = shard.heads;
    sizes.head_width = shard.head_width;
    sizes.attended = shard.heads * shard.head_width;
    sizes.inner = shard.inner;
    sizes.vocabulary = shard.vocabulary;
    sizes.type = models::value_type(partition::precision_of(config.parallel));
    return sizes;
}

/// Adds cases on random tensors.
class Cases {
  public:
    explicit Cases(const Sizes& sizes) : sizes_(sizes) {}

    Tensor values(std::int64_t rows, std::int64_t columns) const { return at::randn({rows, columns}).to(sizes_.type); }
    Tensor values(std::int64_t count) const { return at::randn({count}).to(sizes_.type); }

    void add(std::string name, std::string shape, double flops, double bytes, std::function<void()> run) {
        cases_.push_back({std::move(name), std::move(shape), flops, bytes, std::move(run)});
    }
    /// `tensors` times [rows, columns] values are read or written.
    void moving(const std::string& name, std::int64_t columns, double tensors, std::function<void()> run) {
        const auto bytes =
            static_cast<double>(sizes_.rows * columns) * tensors * static_cast<double>(c10::elementSize(sizes_.type));
        add(name, fmt::format("[{}, {}]", sizes_.rows, columns), 0, bytes, std::move(run));
    }
    void product(const std::string& name, std::int64_t in, std::int64_t out) {
        const Tensor x = values(sizes_.rows, in), w = values(in, out), b = values(out), dy = values(sizes_.rows, out);
        const Tensor dw = at::zeros({in, out});
        const double flops = 2.0 * static_cast<double>(sizes_.rows * in * out);
        const std::string shape = fmt::format("[{}, {}] x [{}, {}]", sizes_.rows, in, in, out);
        add("linear " + name, shape, flops, 0, [=] { kernels::linear(x, w, b); });
        add("backward input " + name, shape, flops, 0, [=] { kernels::linear_backward_input(dy, w); });
        add("backward weight " + name, shape, flops, 0, [=] { kernels::linear_backward_weight(dw, x, dy); });
    }

    std::vector<OperatorCase> take() { return std::move(cases_); }

  private:
    const Sizes& sizes_;
    std::vector<OperatorCase> cases_;
};

void add_attention(const Sizes& s, Cases& cases) {
    const kernels::AttentionShape shape{
        .sequences = s.sequences, .length = s.length, .heads = s.heads, .head_width = s.head_width};
    const kernels::DropoutKey key{.length = s.length};
    const Tensor qkv = cases.values(s.rows, 3 * s.attended), dout = cases.values(s.rows, s.attended);
    const kernels::Attended attended = kernels::attention(qkv, shape, key);
    const std::string text = fmt::format("{} x {} heads x [{}, {}]", s.sequences, s.heads, s.length, s.head_width);
    const double flops = 4.0 * static_cast<double>(s.rows * s.length * s.attended);
    cases.add("attention", text, flops, 0, [=] { kernels::attention(qkv, shape, key); });
    cases.add("attention backward", text, 2 * flops, 0,
              [=] { kernels::attention_backward(dout, qkv, attended.out, attended.logsumexp, shape, key); });
}

void add_rows(const Sizes& s, Cases& cases) {
    const Tensor x = cases.values(s.rows, s.width), dy = cases.values(s.rows, s.width), gain = cases.values(s.width),
                 bias = cases.values(s.width), up = cases.values(s.rows, s.inner), dup = cases.values(s.rows, s.inner);
    const Tensor dgain = at::zeros({s.width}), dbias = at::zeros({s.width}), sums = at::zeros({s.inner});
    const kernels::Normalised n = kernels::layer_norm(x, gain, bias, 1e-5);
    cases.moving("layer norm", s.width, 2, [=] { kernels::layer_norm(x, gain, bias, 1e-5); });
    cases.moving("layer norm backward input", s.width, 4,
                 [=] { kernels::layer_norm_backward_input(dy, x, n.mean, n.rstd, gain, dy); });
    cases.moving("layer norm backward weight", s.width, 2,
                 [=] { kernels::layer_norm_backward_weight(dgain, dbias, dy, x, n.mean, n.rstd); });
    cases.moving("gelu", s.inner, 2, [=] { kernels::gelu(up); });
    cases.moving("gelu backward", s.inner, 3, [=] { kernels::gelu_backward(dup, up); });
    cases.moving("add residual", s.width, 3, [=] { kernels::add_residual(x, dy, bias, {.length = s.length}); });
    cases.moving("column sums", s.inner, 1, [=] { kernels::accumulate_column_sums(sums, dup); });
}

void add_ends(const Sizes& s, Cases& cases) {
    const Tensor table = cases.values(s.vocabulary, s.width), tokens = at::randint(s.vocabulary, {s.rows}, at::kLong);
    cases.moving("embed tokens", s.width, 2, [=] { kernels::embed_tokens(tokens, table, 0); });
    // The head works chunk by chunk.
    const std::int64_t chunk = std::min(s.rows, models::logits_rows({}, s.vocabulary));
    const Tensor x = cases.values(chunk, s.width), targets = tokens.narrow(0, 0, chunk).contiguous();
    const double elements = static_cast<double>(chunk * s.vocabulary);
    const std::string shape = fmt::format("[{}, {}]", chunk, s.vocabulary);
    cases.add("logits", fmt::format("[{}, {}] x [{}, {}]", chunk, s.width, s.width, s.vocabulary),
              2 * elements * static_cast<double>(s.width), 0, [=] { kernels::logits(x, table); });
    // fp32: one tensor is read for the maxima, read and written by the exponentials and by the gradient.
    const Tensor logits = at::randn({chunk, s.vocabulary});
    cases.add("cross entropy and gradient", shape, 0, 5 * 4 * elements, [=, v = s.vocabulary] {
        const Tensor maxima = kernels::row_maxima(logits, v);
        const Tensor sums = kernels::exponential_sums(logits, maxima, targets, 0, v);
        kernels::cross_entropy_gradient(logits, sums, targets, 0, 1.0, at::kFloat);
    });
}

/// Seconds of each of `repeats` runs, after one that does not count.
std::vector<double> times_of(const OperatorCase& operation, int repeats) {
    std::vector<double> seconds;
    for (int i = 0; i <= repeats; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        operation.run();
        const auto end = std::chrono::steady_clock::now();
        if (i > 0) seconds.push_back(std::chrono::duration<double>(end - begin).count());
    }
    return seconds;
}

ReportRow row_of(const OperatorCase& operation, int repeats) {
    const Spread spread = spread_of(times_of(operation, repeats));
    const double flops = operation.flops / spread.median, bytes = operation.bytes / spread.median;
    const auto rate = [](double value, const char* unit) {
        return value > 0 ? ReportCell{shown_si(value) + unit, value} : ReportCell{};
    };
    return {
        .cells = {{operation.name, operation.name},
                  {operation.shape, operation.shape},
                  {shown_seconds(spread.median), spread.median},
                  {fmt::format("+-{}", shown_percent(spread.half_range() / spread.median)), 2 * spread.half_range()},
                  rate(flops, "FLOP/s"),
                  rate(bytes, "B/s")}};
}

}  // namespace

std::vector<OperatorCase> operators_of(const Config& config, int ranks) {
    const Sizes sizes = sizes_of(config, ranks);
    Cases cases(sizes);
    cases.product("qkv", sizes.width, 3 * sizes.attended);
    cases.product("projection", sizes.attended, sizes.width);
    cases.product("up", sizes.width, sizes.inner);
    cases.product("down", sizes.inner, sizes.width);
    add_attention(sizes, cases);
    add_rows(sizes, cases);
    add_ends(sizes, cases);
    return cases.take();
}

void measure_operators(const BenchArguments& arguments) {
    const Config config = load_config(arguments.config, arguments.sets);
    const int threads =
        config.cluster.threads_per_rank.value_or(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
    at::set_num_threads(threads);
    const std::string precision = partition::word_of(partition::precision_of(config.parallel));
    Report report;
    report.head = {fmt::format("smp_bench {} operators: {}, one rank of {}, {}, {}", kVersion, arguments.config,
                               config.world(), counted(threads, "thread"), precision)};
    report.facts = {{"program", fmt::format("smp_bench {}", kVersion)},
                    {"config", arguments.config},
                    {"precision", precision},
                    {"threads", threads},
                    {"repeats", arguments.repeats}};
    report.columns = {{"name", "operator", 0, true},      {"shape", "shape", 0, true},
                      {"median_seconds", "time"},         {"interquartile_seconds", "spread"},
                      {"flops_per_second", "arithmetic"}, {"bytes_per_second", "memory"}};
    for (const OperatorCase& operation : operators_of(config, config.world()))
        report.rows.push_back(row_of(operation, arguments.repeats));
    report.remarks = {fmt::format(
        "medians of {}; spread: half of the interquartile range, of the median; arithmetic: 2 FLOPs a multiply-add, "
        "causal attention in full; memory: bytes of the tensors that are read and written, once each",
        counted(arguments.repeats, "repeat"))};
    give_answer(report, arguments.format, arguments.output);
}

}  // namespace smp::launch
