#include "models/gpt2/gpt2_parameters.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace smp::models {

namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t numel(const std::vector<std::int64_t>& shape) {
    std::int64_t product = 1;
    for (const std::int64_t size : shape) product *= size;
    return product;
}

constexpr Initialisation kZeros{Start::zeros, 0};
constexpr Initialisation kOnes{Start::ones, 0};

/// Builds the parameters of one module.
class ModuleParameters {
  public:
    ModuleParameters(std::string prefix, int tensor_degree, int tensor_rank)
        : prefix_(std::move(prefix)), degree_(tensor_degree), rank_(tensor_rank) {}

    /// Every tensor rank holds all of it.
    Parameter& whole(const std::string& name, std::vector<std::int64_t> shape, Initialisation start) {
        Parameter& parameter = add(name, shape, start);
        parameter.local_shape = std::move(shape);
        parameter.slice = models::whole(numel(parameter.global_shape));
        return parameter;
    }

    /// Cut along dimension 0, so a rank holds whole rows.
    Parameter& by_rows(const std::string& name, std::vector<std::int64_t> shape, Initialisation start) {
        return cut(name, shape, start, 0, 1);
    }

    /// Cut along the last dimension, in each of `parts` equal parts of it.
    Parameter& by_columns(const std::string& name, std::vector<std::int64_t> shape, Initialisation start,
                          std::int64_t parts = 1) {
        return cut(name, shape, start, shape.size() - 1, parts);
    }

    std::vector<Parameter> take() { return std::move(parameters_); }

  private:
    Parameter& add(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start) {
        Parameter& parameter = parameters_.emplace_back();
        parameter.name = prefix_ + name;
        parameter.global_shape = shape;
        parameter.initialisation = start;
        parameter.decays = shape.size() >= 2;
        return parameter;
    }

    Parameter& cut(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start,
                   std::size_t dimension, std::int64_t parts) {
        Parameter& parameter = add(name, shape, start);
        Slice& slice = parameter.slice;
        slice = {.parts = parts, .extent = shape[dimension] / parts};
        for (std::size_t i = 0; i < dimension; ++i) slice.outer *= shape[i];
        for (std::size_t i = dimension + 1; i < shape.size(); ++i) slice.inner *= shape[i];
        const std::int64_t width = divide_up(slice.extent, degree_);
        slice.begin = rank_ * width;
        slice.end = slice.begin + width;
        parameter.local_shape = shape;
        parameter.local_shape[dimension] = parts * width;
        parameter.sharded = degree_ > 1;
        return parameter;
    }

    std::string prefix_;
    int degree_, rank_;
    std::vector<Parameter> parameters_;
};

}  // namespace

int gpt2_module_count(const ModelOptions& options) { return static_cast<int>(options.n_layer) + 2; }

std::string gpt2_module_name(const ModelOptions& options, int module) {
    if (module == 0) return "wte";
    if (module == gpt2_module_count(options) - 1) return "lm_head";
    return fmt::format("h.{}", module - 1);
}

Gpt2Shard gpt2_shard(const ModelOptions& options, int tensor_degree, int tensor_rank) {
    if (tensor_degree < 1 || tensor_rank < 0 || tensor_rank >= tensor_degree)
        throw std::logic_error(fmt::format("tensor rank {} of {} does not exist", tensor_rank, tensor_degree));
    if (options.n_head % tensor_degree != 0 || options.n_embd % options.n_head != 0)
        throw std::logic_error(fmt::format("width {} with {} heads cannot be cut by heads over {} tensor ranks",
                                           options.n_embd, options.n_head, tensor_degree));
    Gpt2Shard shard;
    shard.heads = options.n_head / tensor_degree;
    shard.head_width = options.n_embd / options.n_head;
    shard.first_head = tensor_rank * shard.heads;
    shard.inner = divide_up(inner_width(options), tensor_degree);
    shard.vocabulary = divide_up(options.vocab_size, tensor_degree);
    shard.first_token = tensor_rank * shard.vocabulary;
    shard.valid_tokens = std::clamp<std::int64_t>(options.vocab_size - shard.first_token, 0, shard.vocabulary);
    return shard;
}

std::vector<Parameter> gpt2_module_parameters(const ModelOptions& options, int module, int tensor_degree,
                                              int tensor_rank) {
    gpt2_shard(options, tensor_degree, tensor_rank);  // refuses what cannot be cut
    if (module < 0 || module >= gpt2_module_count(options))
        throw std::logic_error(fmt::format("module {} of {} does not exist", module, gpt2_module_count(options)));
    const std::int64_t h = options.n_embd, V = options.vocab_size, inner = inner_width(options);
    const Initialisation normal{Start::normal, options.initializer_range};
    const Initialisation residual{Start::normal,
                                  options.initializer_range / std::sqrt(2.0 * static_cast<double>(options.n_layer))};

    if (module == 0) {
        ModuleParameters embedding("", tensor_degree, tensor_rank);
        embedding.by_rows("wte.weight", {V, h}, normal);
        embedding.whole("wpe.weight", {options.n_positions, h}, normal);
        return embedding.take();
    }
    if (module == gpt2_module_count(options) - 1) {
        ModuleParameters head("", tensor_degree, tensor_rank);
        head.whole("ln_f.weight", {h}, kOnes).follows_rows = true;
        head.whole("ln_f.bias", {h}, kZeros).follows_rows = true;
        Parameter& output = head.by_rows("lm_head.weight", {V, h}, normal);
        if (options.tie_word_embeddings) output.tied_to = "wte.weight";
        return head.take();
    }
    ModuleParameters block(gpt2_module_name(options, module) + ".", tensor_degree, tensor_rank);
    block.whole("ln_1.weight", {h}, kOnes).follows_rows = true;
    block.whole("ln_1.bias", {h}, kZeros).follows_rows = true;
    block.by_columns("attn.c_attn.weight", {h, 3 * h}, normal, 3);
    block.by_columns("attn.c_attn.bias", {3 * h}, kZeros, 3);
    block.by_rows("attn.c_proj.weight", {h, h}, residual);
    block.whole("attn.c_proj.bias", {h}, kZeros);
    block.whole("ln_2.weight", {h}, kOnes).follows_rows = true;
    block.whole("ln_2.bias", {h}, kZeros).follows_rows = true;
    block.by_columns("mlp.c_fc.weight", {h, inner}, normal);
    block.by_columns("mlp.c_fc.bias", {inner}, kZeros);
    block.by_rows("mlp.c_proj.weight", {inner, h}, residual);
    block.whole("mlp.c_proj.bias", {h}, kZeros);
    return block.take();
}

std::vector<std::vector<Parameter>> gpt2_parameters(const ModelOptions& options, int tensor_degree, int tensor_rank) {
    std::vector<std::vector<Parameter>> modules;
    for (int module = 0; module < gpt2_module_count(options); ++module)
        modules.push_back(gpt2_module_parameters(options, module, tensor_degree, tensor_rank));
    return modules;
}

std::int64_t parameter_count(const ModelOptions& options) {
    std::int64_t count = 0;
    for (const auto& module : gpt2_parameters(options, 1, 0))
        for (const Parameter& parameter : module)
            if (parameter.tied_to.empty()) count += numel(parameter.global_shape);
    return count;
}

}  // namespace smp::models
