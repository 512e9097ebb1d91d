#include "runtime/stage/parameter_collection.h"

#include <algorithm>
#include <stdexcept>

#include <ATen/ops/empty.h>

#include "runtime/state/holdings.h"

namespace smp::runtime {

namespace {

models::Parameter parameter_of(const models::ModelSpec& model, const std::string& name) {
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.name == name && parameter.tied_to.empty()) return parameter;
    throw std::logic_error("the model has no parameter " + name);
}

/// The shards of a tensor that a rank has the counting copy of.
std::vector<Shard> owned_shards(const partition::Plan& plan, const models::ModelSpec& model,
                                partition::Precision precision, int rank, const std::string& name) {
    auto shards = holdings(plan, model, precision, rank, name);
    std::erase_if(shards, [](const Shard& shard) { return !shard.is_owner || shard.kind != Held::value; });
    return shards;
}

/// Their elements one run behind the other, fp32, out of the rank's flat buffer.
at::Tensor pack(const std::vector<Shard>& shards, const at::Tensor& buffer, std::int64_t elements) {
    at::Tensor packed = at::empty({elements}, at::kFloat);
    auto* next = packed.data_ptr<float>();
    for (const Shard& shard : shards) {
        const at::Tensor piece = buffer.narrow(0, shard.place.begin, shard.place.size()).cpu().to(at::kFloat);
        for (const ShardRun& run : runs_of(shard))
            next = std::copy_n(piece.const_data_ptr<float>() + run.place - shard.place.begin, run.count, next);
    }
    return packed;
}

void unpack(const std::vector<Shard>& shards, const at::Tensor& packed, const at::Tensor& whole) {
    const auto* next = packed.const_data_ptr<float>();
    for (const Shard& shard : shards) {
        for (const ShardRun& run : runs_of(shard)) {
            std::copy_n(next, run.count, whole.data_ptr<float>() + run.global);
            next += run.count;
        }
    }
}

}  // namespace

at::Tensor gather_parameter(const Stage& stage, comms::Communicator& world, const partition::Plan& plan,
                            const models::ModelSpec& model, const std::string& name, Tensors what) {
    const models::Parameter parameter = parameter_of(model, name);
    at::Tensor whole;
    if (world.rank() == 0) whole = at::empty(parameter.global_shape, at::kFloat);
    for (int owner = 0; owner < world.size(); ++owner) {
        if (world.rank() != 0 && world.rank() != owner) continue;
        const auto shards = owned_shards(plan, model, stage.precision(), owner, name);
        std::int64_t elements = 0;
        for (const Shard& shard : shards)
            for (const ShardRun& run : runs_of(shard)) elements += run.count;
        if (elements == 0) continue;
        at::Tensor packed;
        if (world.rank() == owner)
            packed = pack(shards, what == Tensors::values ? stage.flat_values() : stage.flat_gradients(), elements);
        else
            packed = at::empty({elements}, at::kFloat);
        if (owner != 0 && world.rank() == owner) world.send(packed, 0).wait();
        if (owner != 0 && world.rank() == 0) world.receive(packed, owner).wait();
        if (world.rank() == 0) unpack(shards, packed, whole);
    }
    return whole;
}

}  // namespace smp::runtime
