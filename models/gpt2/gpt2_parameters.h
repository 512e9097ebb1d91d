// GPT-2's parameters, module by module: names, shapes, who holds what, how they start. The one place that knows them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/gpt2/options.h"
#include "models/parameter.h"

namespace smp::models {

/// Modules in order of execution: the embedding ("wte", with the positions), "h.0" … "h.{L−1}", "lm_head" (with ln_f).
int gpt2_module_count(const Gpt2Options& options);
std::string gpt2_module_name(const Gpt2Options& options, int module);

/// Sizes of one tensor rank. Vocabulary and inner width are rounded up to a multiple of the tensor degree; heads must
/// divide (else std::logic_error: options are validated before).
struct Gpt2Shard {
    std::int64_t heads = 0;       // H: attention heads here
    std::int64_t head_width = 0;  // d
    std::int64_t first_head = 0;
    std::int64_t inner = 0;       // columns of the MLP here
    std::int64_t vocabulary = 0;  // V': rows of the token table here, padding included
    std::int64_t first_token = 0;
    std::int64_t valid_tokens = 0;  // rows of those that are no padding
};
Gpt2Shard gpt2_shard(const Gpt2Options& options, int tensor_degree, int tensor_rank);

/// The parameters of one module; of all, one list a module. Tensor parallel as in Megatron-LM (Shoeybi et al. 2019,
/// §3): attention by heads and the MLP's first layer by columns, their projections by rows (so biases of projections
/// are whole), token table and head by vocabulary. Hugging Face's initialisation: normal(initializer_range), residual
/// projections scaled by 1/√(2·n_layer), biases 0, LayerNorm 1. A tied head is a parameter "lm_head.weight" that is
/// tied to "wte.weight".
std::vector<Parameter> gpt2_module_parameters(const Gpt2Options& options, int module, int tensor_degree,
                                              int tensor_rank);
std::vector<std::vector<Parameter>> gpt2_parameters(const Gpt2Options& options, int tensor_degree, int tensor_rank);

}  // namespace smp::models
