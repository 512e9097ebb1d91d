#include "tests/models/reference_gpt2.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "models/gpt2/gpt2_parameters.h"

namespace smp::models::testing {

namespace {

at::Tensor normalise(const Gpt2Options& options, const NamedTensors& weights, const std::string& name,
                     const at::Tensor& x) {
    const at::Tensor centred = x - x.mean(-1, true);
    const at::Tensor variance = (centred * centred).mean(-1, true);
    return centred / (variance + options.layer_norm_epsilon).sqrt() * weights.at(name + ".weight") +
           weights.at(name + ".bias");
}

at::Tensor linear(const NamedTensors& weights, const std::string& name, const at::Tensor& x) {
    return x.matmul(weights.at(name + ".weight")) + weights.at(name + ".bias");
}

at::Tensor gelu_new(const at::Tensor& x) {
    return 0.5 * x * (1 + ((x + 0.044715 * x * x * x) * std::sqrt(2 / 3.14159265358979323846)).tanh());
}

}  // namespace

NamedTensors random_weights(const Gpt2Options& options, at::ScalarType dtype, std::uint64_t seed) {
    at::Generator generator = at::detail::createCPUGenerator(seed);
    NamedTensors weights;
    for (const auto& module : gpt2_parameters(options, 1, 0)) {
        for (const Parameter& parameter : module) {
            if (!parameter.tied_to.empty()) continue;
            const at::Tensor noise = at::randn(parameter.global_shape, generator, at::kDouble);
            const double centre = parameter.initialisation.start == Start::ones ? 1 : 0;
            weights[parameter.name] = (centre + 0.1 * noise).to(dtype);
        }
    }
    return weights;
}

NamedTensors leaves(const NamedTensors& weights, at::ScalarType dtype) {
    NamedTensors result;
    for (const auto& [name, value] : weights) result[name] = value.detach().to(dtype).clone().requires_grad_();
    return result;
}

at::Tensor reference_embedding(const Gpt2Options& options, const NamedTensors& weights, const at::Tensor& tokens) {
    const at::Tensor x =
        weights.at("wte.weight").index({tokens}) + weights.at("wpe.weight").narrow(0, 0, tokens.size(1));
    return x.reshape({-1, options.n_embd});
}

at::Tensor reference_block(const Gpt2Options& options, const NamedTensors& weights, int layer, const at::Tensor& x,
                           std::int64_t length) {
    const std::string prefix = fmt::format("h.{}.", layer);
    const std::int64_t h = options.n_embd, heads = options.n_head, d = h / heads, b = x.size(0) / length;
    const auto by_head = [&](const at::Tensor& y) { return y.view({b, length, heads, d}).transpose(1, 2); };

    const at::Tensor qkv = linear(weights, prefix + "attn.c_attn", normalise(options, weights, prefix + "ln_1", x));
    const at::Tensor q = by_head(qkv.narrow(1, 0, h).reshape({-1, h}));
    const at::Tensor k = by_head(qkv.narrow(1, h, h).reshape({-1, h}));
    const at::Tensor v = by_head(qkv.narrow(1, 2 * h, h).reshape({-1, h}));
    const at::Tensor future = at::ones({length, length}, at::kBool).triu(1);
    const at::Tensor scores = (q.matmul(k.transpose(2, 3)) / std::sqrt(static_cast<double>(d)))
                                  .masked_fill(future, -std::numeric_limits<double>::infinity());
    const at::Tensor attended = scores.softmax(-1).matmul(v).transpose(1, 2).reshape({-1, h});
    const at::Tensor middle = x + linear(weights, prefix + "attn.c_proj", attended);
    const at::Tensor inner =
        gelu_new(linear(weights, prefix + "mlp.c_fc", normalise(options, weights, prefix + "ln_2", middle)));
    return middle + linear(weights, prefix + "mlp.c_proj", inner);
}

at::Tensor reference_logits(const Gpt2Options& options, const NamedTensors& weights, const at::Tensor& x) {
    const at::Tensor& head = weights.at(options.tie_word_embeddings ? "wte.weight" : "lm_head.weight");
    return normalise(options, weights, "ln_f", x).matmul(head.t());
}

at::Tensor reference_loss_sum(const at::Tensor& logits, const at::Tensor& targets) {
    return -logits.log_softmax(-1).gather(1, targets.reshape({-1, 1})).sum();
}

ReferenceRun run_reference(const Gpt2Options& options, const NamedTensors& weights, const at::Tensor& inputs,
                           const at::Tensor& targets, at::ScalarType dtype) {
    const NamedTensors own = leaves(weights, dtype);
    at::Tensor x = reference_embedding(options, own, inputs);
    for (int layer = 0; layer < options.n_layer; ++layer) x = reference_block(options, own, layer, x, inputs.size(1));
    const at::Tensor logits = reference_logits(options, own, x);
    const at::Tensor loss = reference_loss_sum(logits, targets) / static_cast<double>(targets.numel());
    loss.backward();
    ReferenceRun run{.loss = loss.item<double>(), .logits = logits.detach(), .gradients = {}};
    for (const auto& [name, weight] : own) run.gradients[name] = weight.grad();
    return run;
}

}  // namespace smp::models::testing
