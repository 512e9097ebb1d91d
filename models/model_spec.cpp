#include "models/model_spec.h"

#include <algorithm>
#include <stdexcept>

#include "partition/job/flat_padding.h"

namespace smp::models {

namespace {

/// Elements from its end to where the next one may begin in a flat buffer.
std::int64_t padding_of(const Parameter& parameter, partition::Precision precision) {
    const std::int64_t count = parameter.slice.local_numel();
    return partition::round_up(count, partition::flat_alignment(precision)) - count;
}

/// Adds `parameter` of module `module` to the shared parameter that it is a copy of.
void add_copy(partition::ModuleGraph& graph, const ModelSpec& model, const Parameter& parameter, int module,
              int tensor_degree) {
    auto shared = std::ranges::find(graph.shared, parameter.tied_to, &partition::SharedParameter::name);
    if (shared != graph.shared.end()) {
        shared->modules.push_back(module);
        return;
    }
    for (int owner = 0; owner < module; ++owner) {
        const auto own = model.parameters(owner, tensor_degree, 0);
        if (std::ranges::find(own, parameter.tied_to, &Parameter::name) == own.end()) continue;
        graph.shared.push_back({.name = parameter.tied_to,
                                .parameter_count = parameter.slice.local_numel(),
                                .padding_elements = padding_of(parameter, graph.precision),
                                .modules = {owner, module}});
        return;
    }
    throw std::logic_error(parameter.name + " is tied to " + parameter.tied_to + ", which no module before it has");
}

}  // namespace

std::vector<std::string> module_names(const ModelSpec& model) {
    std::vector<std::string> names;
    for (int module = 0; module < model.module_count(); ++module) names.push_back(model.module_name(module));
    return names;
}

std::vector<std::string> parameter_names(const ModelSpec& model) {
    std::vector<std::string> names;
    for (int module = 0; module < model.module_count(); ++module)
        for (const Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.tied_to.empty()) names.push_back(parameter.name);
    return names;
}

std::int64_t parameter_count(const ModelSpec& model) {
    std::int64_t count = 0;
    for (int module = 0; module < model.module_count(); ++module)
        for (const Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.tied_to.empty()) count += parameter.slice.global_numel();
    return count;
}

partition::ModuleGraph module_graph(const ModelSpec& model, const MicrobatchShare& share) {
    partition::ModuleGraph graph;
    graph.precision = share.storage.precision;
    const bool shards_rows = share.storage.optimize == partition::Optimize::memory && share.tensor_degree > 1;
    const int count = model.module_count();
    for (int module = 0; module < count; ++module) {
        const ModuleWork work = model.work(module, share);
        const auto stash = model.stash(module, share);
        partition::Module cost{.name = model.module_name(module),
                               .is_layer = work.is_layer,
                               .forward_flops = work.forward_flops,
                               .backward_flops = work.backward_flops,
                               .weight_flops = work.weight_flops,
                               .stash_bytes = kept_bytes(stash, Pass::forward),
                               .deferred_bytes = kept_bytes(stash, Pass::backward_input),
                               .logits_bytes = work.logits_bytes,
                               .passes = model.passes(module, share)};
        if (module + 1 < count) cost.output_bytes = share.boundary_rows() * model.width() * share.value_bytes();
        for (const Parameter& parameter : model.parameters(module, share.tensor_degree, 0)) {
            cost.parameter_count += parameter.slice.local_numel();
            cost.padding_elements += padding_of(parameter, graph.precision);
            if (shards_rows && parameter.follows_rows)
                cost.row_gradient_bytes += partition::kGradientBytes * parameter.slice.local_numel();
            if (!parameter.tied_to.empty()) add_copy(graph, model, parameter, module, share.tensor_degree);
        }
        graph.modules.push_back(cost);
    }
    return graph;
}

}  // namespace smp::models
