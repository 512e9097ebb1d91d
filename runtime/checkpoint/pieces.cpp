#include "runtime/checkpoint/pieces.h"

#include <fmt/format.h>

namespace smp::runtime {

StateKind kind_of(Held held) {
    switch (held) {
        case Held::value:
        case Held::master: return StateKind::weight;
        case Held::first_moment: return StateKind::first_moment;
        case Held::second_moment: break;
    }
    return StateKind::second_moment;
}

std::vector<Shard> written_shards(const partition::Plan& plan, const models::ModelSpec& model,
                                  partition::Precision precision, int rank) {
    const Held weights = precision == partition::Precision::fp32 ? Held::value : Held::master;
    auto shards = holdings(plan, model, precision, rank);
    std::erase_if(shards, [&](const Shard& shard) {
        return !shard.is_owner || (shard.kind == Held::value && weights != Held::value) || runs_of(shard).empty();
    });
    return shards;
}

Piece piece_of(const Shard& shard) {
    return {.name = "",
            .tensor = shard.tensor,
            .kind = kind_of(shard.kind),
            .slice = shard.slice,
            .of_slice = shard.of_slice};
}

std::string layout_text(const partition::Plan& plan) {
    const partition::Degrees& degrees = plan.topology.degrees;
    return fmt::format("{} pipeline x {} tensor x {} data ranks", degrees.pp, degrees.tp, degrees.rdp);
}

std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors_of(const models::ModelSpec& model) {
    std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors;
    for (int module = 0; module < model.module_count(); ++module)
        for (const models::Parameter& parameter : model.parameters(module, 1, 0))
            if (parameter.tied_to.empty()) tensors.emplace_back(parameter.name, parameter.global_shape);
    return tensors;
}

}  // namespace smp::runtime
