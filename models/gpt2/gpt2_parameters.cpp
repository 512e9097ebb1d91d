#include "models/gpt2/gpt2_parameters.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "models/parameter_list.h"

namespace smp::models {

int gpt2_module_count(const Gpt2Options& options) { return static_cast<int>(options.n_layer) + 2; }

std::string gpt2_module_name(const Gpt2Options& options, int module) {
    if (module == 0) return "wte";
    if (module == gpt2_module_count(options) - 1) return "lm_head";
    return fmt::format("h.{}", module - 1);
}

Gpt2Shard gpt2_shard(const Gpt2Options& options, int tensor_degree, int tensor_rank) {
    if (tensor_degree < 1 || tensor_rank < 0 || tensor_rank >= tensor_degree)
        throw std::logic_error(fmt::format("tensor rank {} of {} does not exist", tensor_rank, tensor_degree));
    if (options.n_head % tensor_degree != 0 || options.n_embd % options.n_head != 0)
        throw std::logic_error(fmt::format("width {} with {} heads cannot be cut by heads over {} tensor ranks",
                                           options.n_embd, options.n_head, tensor_degree));
    Gpt2Shard shard;
    shard.heads = options.n_head / tensor_degree;
    shard.head_width = options.n_embd / options.n_head;
    shard.first_head = tensor_rank * shard.heads;
    shard.inner = rounded_up_part(inner_width(options), tensor_degree);
    shard.vocabulary = rounded_up_part(options.vocab_size, tensor_degree);
    shard.first_token = tensor_rank * shard.vocabulary;
    shard.valid_tokens = std::clamp<std::int64_t>(options.vocab_size - shard.first_token, 0, shard.vocabulary);
    return shard;
}

std::vector<Parameter> gpt2_module_parameters(const Gpt2Options& options, int module, int tensor_degree,
                                              int tensor_rank) {
    gpt2_shard(options, tensor_degree, tensor_rank);  // refuses what cannot be cut
    if (module < 0 || module >= gpt2_module_count(options))
        throw std::logic_error(fmt::format("module {} of {} does not exist", module, gpt2_module_count(options)));
    const std::int64_t h = options.n_embd, V = options.vocab_size, inner = inner_width(options);
    const Initialisation normal{Start::normal, options.initializer_range};
    const Initialisation residual{Start::normal,
                                  options.initializer_range / std::sqrt(2.0 * static_cast<double>(options.n_layer))};

    if (module == 0) {
        ParameterList embedding("", tensor_degree, tensor_rank);
        embedding.by_rows("wte.weight", {V, h}, normal);
        embedding.whole("wpe.weight", {options.n_positions, h}, normal);
        return embedding.take();
    }
    if (module == gpt2_module_count(options) - 1) {
        ParameterList head("", tensor_degree, tensor_rank);
        head.whole("ln_f.weight", {h}, kOnes).follows_rows = true;
        head.whole("ln_f.bias", {h}, kZeros).follows_rows = true;
        Parameter& output = head.by_rows("lm_head.weight", {V, h}, normal);
        if (options.tie_word_embeddings) output.tied_to = "wte.weight";
        return head.take();
    }
    ParameterList block(gpt2_module_name(options, module) + ".", tensor_degree, tensor_rank);
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

std::vector<std::vector<Parameter>> gpt2_parameters(const Gpt2Options& options, int tensor_degree, int tensor_rank) {
    std::vector<std::vector<Parameter>> modules;
    for (int module = 0; module < gpt2_module_count(options); ++module)
        modules.push_back(gpt2_module_parameters(options, module, tensor_degree, tensor_rank));
    return modules;
}

}  // namespace smp::models
