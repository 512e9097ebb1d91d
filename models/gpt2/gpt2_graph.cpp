#include "models/gpt2/gpt2_graph.h"

#include <algorithm>

#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_stash.h"

namespace smp::models {

namespace {

double product_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace

partition::ModuleGraph gpt2_graph(const ModelOptions& options, const MicrobatchShare& share) {
    const Gpt2Shard shard = gpt2_shard(options, share.tensor_degree, 0);
    const std::int64_t rows = share.rows();  // N
    const std::int64_t h = options.n_embd, attended = shard.heads * shard.head_width;
    const auto parameters = gpt2_parameters(options, share.tensor_degree, 0);
    const int count = gpt2_module_count(options);

    const double linear = product_flops(rows, 3 * attended, h) + product_flops(rows, h, attended) +
                          product_flops(rows, shard.inner, h) + product_flops(rows, h, shard.inner);
    const double attention = 2 * product_flops(rows, share.length, attended);  // q·kᵀ and p·v
    const double logits = product_flops(rows, shard.vocabulary, h);

    partition::ModuleGraph graph;
    graph.precision = share.storage.precision;
    for (int module = 0; module < count; ++module) {
        partition::Module cost{.name = gpt2_module_name(options, module)};
        for (const Parameter& parameter : parameters[module]) cost.parameter_count += parameter.slice.local_numel();
        const auto stash = gpt2_stash(options, module, share);
        cost.stash_bytes = kept_bytes(stash, Pass::forward);
        cost.deferred_bytes = kept_bytes(stash, Pass::backward_input);
        const bool is_head = module == count - 1;
        cost.is_layer = module > 0 && !is_head;
        if (cost.is_layer) {
            cost.forward_flops = linear + attention;
            cost.backward_flops = 2 * (linear + attention);
            cost.weight_flops = linear;
        }
        if (is_head) {
            cost.backward_flops = 3 * logits;
            cost.logits_bytes = 4 * std::min(rows, kLogitsRows) * shard.vocabulary;  // fp32 in every precision
        }
        if (!is_head) cost.output_bytes = share.boundary_rows() * options.n_embd * share.value_bytes();
        graph.modules.push_back(cost);
    }

    for (const Parameter& parameter : parameters.back())
        if (!parameter.tied_to.empty())
            graph.shared.push_back({.name = parameter.tied_to,
                                    .parameter_count = parameter.slice.local_numel(),
                                    .modules = {0, count - 1}});
    return graph;
}

double model_flops_per_token(const ModelOptions& options, std::int64_t length) {
    return 6.0 * static_cast<double>(parameter_count(options)) + 12.0 * static_cast<double>(options.n_layer) *
                                                                     static_cast<double>(options.n_embd) *
                                                                     static_cast<double>(length);
}

}  // namespace smp::models
