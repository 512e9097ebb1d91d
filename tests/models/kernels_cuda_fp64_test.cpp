// Our CUDA kernels beside ATen's formulas in fp64: shapes that divide by nothing, every storage, and the same bits in
// every run. Compiled twice: into the models' tests, where they run on a GPU and are skipped without one, and into
// tests/cuda_on_host, where they run on the host, with threads in another order each time.
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "models/kernels/aten_kernels.h"
#include "models/kernels/cuda/operators.h"
#include "models/kernels/dropout_mask.h"
#ifdef SMP_CUDA_ON_HOST
#include "tests/cuda_on_host/cuda_on_host.h"
#endif
#include "tests/seed.h"

namespace smp::models::kernels {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

#ifdef SMP_CUDA_ON_HOST
constexpr at::DeviceType kDevice = at::kCPU;
void begin_run(std::uint64_t seed) { testing::cuda_on_host::set_seed(seed); }
#else
constexpr at::DeviceType kDevice = at::kCUDA;
void begin_run(std::uint64_t /*seed*/) {}
#endif

constexpr at::ScalarType kStorages[] = {at::kFloat, at::kBFloat16, at::kHalf};

/// Half the distance to the next number, of a number of about 1.
double half_unit(at::ScalarType type) {
    switch (type) {
        case at::kBFloat16: return std::ldexp(1, -8);
        case at::kHalf: return std::ldexp(1, -11);
        default: return std::ldexp(1, -24);
    }
}

Tensor random(at::IntArrayRef shape, at::ScalarType type, double deviation = 1) {
    return (at::randn(shape, at::kFloat) * deviation).to(type);
}

Tensor tokens(std::int64_t count, std::int64_t vocabulary) { return at::randint(vocabulary, {count}, at::kLong); }

/// `own` computes by kernels, `exact` by ATen from the same numbers in fp64. An element may differ by `tolerance` units
/// of 2^-24 times the largest exact one, each use says why, and by one rounding of its storage.
void check(const std::string& name, const Tensors& inputs, const std::function<Tensors(const Tensors&)>& own,
           const std::function<Tensors(const Tensors&)>& exact, double tolerance) {
    const auto run = [&](std::uint64_t seed) {
        begin_run(seed);
        Tensors x, outputs;
        for (const Tensor& input : inputs) x.push_back(input.defined() ? input.clone().to(kDevice) : input);
        for (const Tensor& output : own(x)) outputs.push_back(output.cpu());
        return outputs;
    };
    const Tensors found = run(testing::seed()), again = run(testing::seed() + 1);
    Tensors wide;
    for (const Tensor& input : inputs)
        wide.push_back(input.defined() && input.is_floating_point() ? input.to(at::kDouble) : input);
    const Tensors expected = exact(wide);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << name << ", output " << i;
        EXPECT_TRUE(found[i].equal(again[i])) << name << ", output " << i << ": other bits in another order of threads";
        if (found[i].numel() == 0) continue;
        const double most = expected[i].abs().max().item<double>();
        const Tensor allowed = expected[i].abs() * half_unit(found[i].scalar_type()) +
                               (tolerance * std::ldexp(most, -24) + std::ldexp(1, -25));  // the latter: fp16's least
        const Tensor excess = (found[i].to(at::kDouble) - expected[i]).abs() / allowed;
        EXPECT_LE(excess.max().item<double>(), 1)
            << name << " in " << found[i].scalar_type() << ", output " << i << " of shape " << found[i].sizes();
    }
}

struct Shape {
    std::int64_t rows, width;
};
/// The last one, of more rows than a grid has blocks along y, once only.
std::vector<Shape> shapes_for(at::ScalarType type) {
    std::vector<Shape> shapes = {{1, 1}, {1, 64}, {7, 33}, {130, 5}, {33, 100}, {64, 300}};
    if (type == at::kFloat) shapes.push_back({65537, 3});
    return shapes;
}

class KernelsCudaFp64 : public ::testing::Test {
  protected:
    void SetUp() override {
        if (kDevice == at::kCUDA && !at::globalContext().hasCUDA())
            GTEST_SKIP() << "no CUDA device, or a build without CUDA; tests/cuda_on_host runs the kernels on the host";
        at::manual_seed(testing::seed());
    }
};

// Sums of `width` terms in chains of width / 32 and five halvings: errors of some units, √width at most in practice; a
// row of one element has a variance of 0, and then rstd magnifies.
TEST_F(KernelsCudaFp64, LayerNorm) {
    for (const auto type : kStorages)
        for (const auto& [rows, width] : shapes_for(type)) {
            const Tensors inputs = {random({rows, width}, type, 3), random({width}, type), random({width}, type),
                                    random({rows, width}, type), random({rows, width}, type)};
            const double epsilon = 0.1;
            check(
                "layer_norm", inputs,
                [&](const Tensors& x) {
                    const auto n = cuda::layer_norm(x[0], x[1], x[2], epsilon);
                    return Tensors{n.y, n.mean, n.rstd};
                },
                [&](const Tensors& x) {
                    const auto n = aten::layer_norm(x[0], x[1], x[2], epsilon);
                    return Tensors{n.y, n.mean, n.rstd};
                },
                64);
            const auto backward = [&](const Tensors& x, const auto& input, const auto& weight, at::ScalarType wide) {
                const auto exact =
                    aten::layer_norm(x[0].to(at::kDouble), x[1].to(at::kDouble), x[2].to(at::kDouble), epsilon);
                const Tensor mean = exact.mean.to(wide), rstd = exact.rstd.to(wide);
                const Tensor dgain = at::ones({width}, mean.options()), dbias = at::ones({width}, mean.options());
                weight(dgain, dbias, x[3], x[0], mean, rstd);
                return Tensors{input(x[3], x[0], mean, rstd, x[1], x[4]), input(x[3], x[0], mean, rstd, x[1], Tensor()),
                               dgain, dbias};
            };
            // Sums down 65,537 rows in 64 lanes: chains of 1,024 terms and then of 64, √1088 of which partial sums of
            // up to their size are rounded.
            check(
                "layer_norm_backward", inputs,
                [&](const Tensors& x) {
                    return backward(x, cuda::layer_norm_backward_input, cuda::layer_norm_backward_weight, at::kFloat);
                },
                [&](const Tensors& x) {
                    return backward(x, aten::layer_norm_backward_input, aten::layer_norm_backward_weight, at::kDouble);
                },
                256);
        }
}

TEST_F(KernelsCudaFp64, ColumnSums) {
    for (const auto type : kStorages)
        for (const auto& [rows, width] : shapes_for(type)) {
            const auto sums = [&, rows = rows, width = width](const auto& f) {
                return [&, rows, width](const Tensors& x) {  // of rows that are strided
                    const Tensor found = x[0].clone();
                    f(found, x[1].narrow(1, 1, width));
                    return Tensors{found};
                };
            };
            check("accumulate_column_sums", {random({width}, at::kFloat), random({rows, width + 2}, type)},
                  sums(cuda::accumulate_column_sums), sums(aten::accumulate_column_sums), 256);
        }
}

// expf within 2 units; the slope cancels near its minimum.
TEST_F(KernelsCudaFp64, Gelu) {
    for (const auto type : kStorages)
        for (const auto& [rows, width] : shapes_for(type)) {
            const auto both = [](const auto& forward, const auto& backward) {
                return [&forward, &backward](const Tensors& x) {
                    const Tensor dx = x[1].clone();
                    backward(dx, x[0]);
                    return Tensors{forward(x[0]), dx};
                };
            };
            check("gelu", {random({rows, width}, type, 4), random({rows, width}, type)},
                  both(cuda::gelu, cuda::gelu_backward), both(aten::gelu, aten::gelu_backward), 16);
        }
    // Where e^(-2u) overflows.
    const Tensor far = at::tensor({-20.0F, -11.0F, 30.0F}).to(kDevice), dx = at::ones({3}).to(kDevice);
    const Tensor exact = at::tensor({0.0F, 0.0F, 30.0F});
    EXPECT_LE((cuda::gelu(far).cpu() - exact).abs().max().item<float>(), 1e-30);
    cuda::gelu_backward(dx, far);
    EXPECT_LE((dx.cpu() - exact.sign()).abs().max().item<float>(), 1e-30);
}

// The same masks as on the CPU, over the borders of sequences.
TEST_F(KernelsCudaFp64, ResidualAndDropout) {
    for (const auto type : kStorages)
        for (const double probability : {0.0, 0.3})
            for (const auto& [rows, width] : shapes_for(type)) {
                const DropoutKey key = {.probability = probability,
                                        .seed = 5,
                                        .step = 3,
                                        .first_sequence = (std::int64_t{1} << 33) + 6,
                                        .length = 20,
                                        .first_row = 13,
                                        .layer = 2};
                const auto all = [&key](const auto& sum, const auto& gradient) {
                    return [&](const Tensors& x) {
                        return Tensors{sum(x[0], x[1], x[2], key), sum(x[0], x[1], Tensor(), key), gradient(x[0], key)};
                    };
                };
                check("residual", {random({rows, width}, type), random({rows, width}, type), random({width}, type)},
                      all(cuda::add_residual, cuda::dropout_backward), all(aten::add_residual, aten::dropout_backward),
                      2);
            }
}

// Chains of at most 130 terms in some order: as kernels_test has them. Strided rows; a bias, a sum in fp32.
TEST_F(KernelsCudaFp64, Linear) {
    struct Sizes {
        std::int64_t rows, in, out;
    };
    struct Way {
        std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)> linear;
        std::function<Tensor(const Tensor&, const Tensor&)> input, logits;
        std::function<void(const Tensor&, const Tensor&, const Tensor&)> weight;
    };
    for (const auto type : kStorages)
        for (const auto& [rows, in, out] :
             {Sizes{1, 1, 1}, Sizes{1, 64, 33}, Sizes{7, 33, 5}, Sizes{130, 5, 1}, Sizes{40, 100, 77}}) {
            const auto all = [in = in, out = out](const Way& f) {
                return [=](const Tensors& x) {
                    const Tensor some = x[0].narrow(1, 1, in), w = x[1].narrow(1, 2, out);
                    const Tensor dw = x[3].clone().narrow(1, 1, out);
                    f.weight(dw, some, x[2]);
                    return Tensors{f.linear(some, w, x[4]), f.linear(some, w, Tensor()), f.input(x[2], w),
                                   f.logits(x[2], w), dw};
                };
            };
            check("linear",
                  {random({rows, in + 2}, type), random({in, out + 3}, type), random({rows, out}, type),
                   random({in, out + 1}, at::kFloat), random({out}, type)},
                  all({cuda::linear, cuda::linear_backward_input, cuda::logits, cuda::linear_backward_weight}),
                  all({aten::linear, aten::linear_backward_input, aten::logits, aten::linear_backward_weight}), 100);
        }
}

// Scores of unit deviation; products of at most 130 terms twice in a row, and four times backward, as kernels_test has
// them. Lengths and widths that tiles do not divide; heads of another rank; queries that see one key. In 16 bits, heads
// of 8, 16, … columns run on tensor cores, which round weights and the gradients of scores: the weights of a query are
// 1 in all, so that out moves by half a unit of the largest value at most, and a gradient by about that of the largest.
TEST_F(KernelsCudaFp64, Attention) {
    for (const auto type : kStorages)
        for (const double probability : {0.0, 0.2})
            for (const AttentionShape& shape : std::vector<AttentionShape>{{2, 96, 2, 64, 0},
                                                                           {2, 20, 3, 12, 0},
                                                                           {1, 1, 2, 16, 0},
                                                                           {3, 65, 1, 7, 3},
                                                                           {1, 70, 2, 100, 2},
                                                                           {1, 150, 2, 40, 1},
                                                                           {2, 131, 1, 128, 0},
                                                                           {1, 257, 1, 8, 0}}) {
                const bool rounds_weights = type != at::kFloat && shape.head_width % 8 == 0;
                const double rounding = rounds_weights ? std::ldexp(half_unit(type), 24) : 0;
                const DropoutKey key = {
                    .probability = probability, .seed = 5, .first_sequence = 7, .length = shape.length};
                const std::int64_t n = shape.sequences * shape.length, width = shape.heads * shape.head_width;
                const Tensor qkv = random({n, 3 * width}, type);
                const auto forward = [&](const auto& attend) {
                    return [&](const Tensors& x) {
                        const Attended attended = attend(x[0], shape, key);
                        return Tensors{attended.out, attended.logsumexp};
                    };
                };
                check("attention", {qkv}, forward(cuda::attention), forward(aten::attention), 100 + rounding);
                const Attended exact = aten::attention(qkv.to(at::kDouble), shape, key);
                const auto backward = [&](const auto& gradient) {
                    return [&](const Tensors& x) { return Tensors{gradient(x[0], x[1], x[2], x[3], shape, key)}; };
                };
                check("attention_backward",
                      {random({n, width}, type), qkv, exact.out.to(type), exact.logsumexp.to(at::kFloat)},
                      backward(cuda::attention_backward), backward(aten::attention_backward), 200 + rounding);
            }
}

// Tokens below the shard, in it and above it; some often, so that sums have an order. 256 of a token at most: see sums
// of columns.
TEST_F(KernelsCudaFp64, Embedding) {
    for (const auto type : kStorages)
        for (const auto& [rows, width] : {Shape{1, 1}, Shape{300, 33}, Shape{129, 200}}) {
            const std::int64_t held = 11, first = 4, length = rows % 3 == 0 ? rows / 3 : rows;
            const auto all = [=, rows = rows](const auto& embed, const auto& token, const auto& position,
                                              const auto& add) {
                return [=](const Tensors& x) {
                    const Tensor dtable = x[3].clone(), dplaces = x[4].clone();
                    token(dtable, x[2], x[1], first);
                    position(dplaces, x[2], rows / length, length);
                    const Tensor summed = x[2].clone();
                    add(summed, x[0].narrow(0, 0, 7), 3, 7);
                    return Tensors{embed(x[1], x[0], first), dtable, dplaces, summed};
                };
            };
            check("embedding",
                  {random({held, width}, type), tokens(rows, 20), random({rows, width}, type),
                   random({held, width}, at::kFloat), random({length + 3, width}, at::kFloat)},
                  all(cuda::embed_tokens, cuda::accumulate_token_gradient, cuda::accumulate_position_gradient,
                      cuda::add_positions),
                  all(aten::embed_tokens, aten::accumulate_token_gradient, aten::accumulate_position_gradient,
                      kernels::add_positions),
                  32);
        }
}

// Vocabularies with padding behind, targets in other shards; a shard may be nothing but padding.
TEST_F(KernelsCudaFp64, CrossEntropy) {
    struct Case {
        std::int64_t rows, width, valid, first;
    };
    for (const auto& [rows, width, valid, first] : {Case{1, 1, 1, 0}, Case{40, 503, 501, 0}, Case{7, 300, 300, 250},
                                                    Case{5, 8, 0, 64}, Case{3, 1000, 777, 100}}) {
        const auto all = [=, first = first, valid = valid](const auto& maxima, const auto& sums, const auto& gradient,
                                                           const auto& loss) {
            return [=](const Tensors& x) {
                const Tensor logits = x[0].narrow(1, 0, x[0].size(1) - 3);  // strided rows
                const Tensor most = maxima(logits, valid);
                // What the tensor group agrees on is finite.
                const Tensor agreed = most.clamp_min(-100);
                const Tensor own = sums(logits, agreed, x[1], first, valid);
                const Tensor exponentials = logits.clone();
                gradient(logits, own + 1, x[1], first, 0.25);
                return Tensors{most.clamp_min(-1e3), own, exponentials, logits.clone(),
                               at::full({1}, loss(own + 1), at::kDouble)};
            };
        };
        const auto gradient = [](const Tensor& x, const Tensor& own, const Tensor& targets, std::int64_t f, double s) {
            const Tensor exponentials = x.clone();
            cuda::cross_entropy_gradient(x, own, targets, f, s, at::kFloat);
            for (const at::ScalarType type : {at::kBFloat16, at::kHalf})
                EXPECT_TRUE(cuda::cross_entropy_gradient(exponentials.clone(), own, targets, f, s, type)
                                .cpu()
                                .equal(x.cpu().to(type)));
        };
        const auto loss = [](const Tensor& sums) {
            const Tensor sum = at::full({1}, 3, sums.options().dtype(at::kDouble));
            cuda::add_cross_entropy(sum, sums);
            return sum.cpu().item<double>() - 3;
        };
        check("cross_entropy", {random({rows, width + 3}, at::kFloat, 4), tokens(rows, 900)},
              all(cuda::row_maxima, cuda::exponential_sums, gradient, loss),
              all(aten::row_maxima, aten::exponential_sums, aten::cross_entropy_gradient, aten::cross_entropy_sum), 64);
    }
}

#ifdef SMP_CUDA_ON_HOST  // on a GPU: KernelsCuda.DropoutMasksAreTheSameBits
TEST_F(KernelsCudaFp64, DropoutMasks) {
    const DropoutKey key = {.probability = 0.3, .seed = 5, .step = 3, .first_sequence = 6, .length = 20, .layer = 2};
    for (const std::int64_t columns : {1, 63, 64, 100, 512}) {
        const Tensor mask = at::empty({3 * 20, columns});
        fill_dropout_mask_on_cuda(mask.mutable_data_ptr<float>(), dropout_mask(key), 6, 3, 7, 20, columns, nullptr);
        EXPECT_TRUE(mask.equal(aten::dropout_mask_tensor(key, 3, 7, 20, columns, mask.options()))) << columns;
    }
}
#endif

}  // namespace
}  // namespace smp::models::kernels
