#include "runtime/stage/parameter_collection.h"

#include <stdexcept>

#include <ATen/ops/empty.h>

#include "models/gpt2/gpt2_parameters.h"
#include "models/slice.h"

namespace smp::runtime {

namespace {

/// The module that owns a parameter.
int module_of(const models::ModelOptions& model, const std::string& name) {
    const auto modules = models::gpt2_parameters(model, 1, 0);
    for (std::size_t module = 0; module < modules.size(); ++module)
        for (const models::Parameter& parameter : modules[module])
            if (parameter.name == name && parameter.tied_to.empty()) return static_cast<int>(module);
    throw std::logic_error("the model has no parameter " + name);
}

models::Parameter describe(const models::ModelOptions& model, int module, const std::string& name, int tensor_degree,
                           int tensor_rank) {
    const auto modules = models::gpt2_parameters(model, tensor_degree, tensor_rank);
    for (const models::Parameter& parameter : modules[module])
        if (parameter.name == name) return parameter;
    throw std::logic_error("the model has no parameter " + name);
}

partition::StageId stage_of(const partition::Plan& plan, int module) {
    for (const partition::Chunk& chunk : plan.chunks)
        if (chunk.first_module <= module && module < chunk.end_module) return chunk.stage;
    throw std::logic_error("no stage holds the module");
}

std::span<float> elements(const at::Tensor& tensor) {
    return {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

}  // namespace

std::vector<std::string> parameter_names(const models::ModelOptions& model) {
    std::vector<std::string> names;
    for (const auto& module : models::gpt2_parameters(model, 1, 0))
        for (const models::Parameter& parameter : module)
            if (parameter.tied_to.empty()) names.push_back(parameter.name);
    return names;
}

at::Tensor gather_parameter(const Stage& stage, RankGroups& groups, const partition::Plan& plan,
                            const models::ModelOptions& model, const std::string& name, Tensors what) {
    const int module = module_of(model, name);
    const partition::Coordinate owner{.pp = stage_of(plan, module).number(), .tp = 0, .rdp = 0};
    const int tensor_degree = plan.topology.degrees.tp;
    const bool sharded = describe(model, module, name, tensor_degree, 0).sharded;
    at::Tensor whole;
    if (groups.world->rank() == 0) whole = at::empty(describe(model, module, name, 1, 0).global_shape, at::kFloat);

    for (int shard = 0; shard < (sharded ? tensor_degree : 1); ++shard) {
        const int source = partition::rank_of(groups.topology, {.pp = owner.pp, .tp = shard, .rdp = 0});
        at::Tensor local;
        if (groups.world->rank() == source) {
            const int index = stage.find(name);
            local = (what == Tensors::values ? stage.value(index) : stage.gradient(index))
                        .cpu()
                        .to(at::kFloat)
                        .contiguous();
            if (source != 0) groups.world->send(local, 0).wait();
        }
        if (groups.world->rank() != 0) continue;
        const models::Parameter parameter = describe(model, module, name, tensor_degree, shard);
        if (source != 0) {
            local = at::empty(parameter.local_shape, at::kFloat);
            groups.world->receive(local, source).wait();
        }
        models::copy_to_global(parameter.slice, elements(local), elements(whole));
    }
    return whole;
}

}  // namespace smp::runtime
