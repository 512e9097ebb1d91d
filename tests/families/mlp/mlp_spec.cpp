#include "tests/families/mlp/mlp_spec.h"

#include <stdexcept>

#include <fmt/format.h>

#include "models/parameter_list.h"

namespace smp::testing {

using models::rounded_up_part;

std::string Mlp::description() const {
    return fmt::format("{} MLPs, {} wide, vocabulary {}", options_.layers, options_.width, options_.vocabulary);
}

std::string Mlp::canonical_text() const {
    const auto& o = options_;
    return fmt::format(
        "model.inner={}\nmodel.layers={}\nmodel.longest={}\nmodel.tied={}\nmodel.vocabulary={}\nmodel.width={}\n",
        o.inner, o.layers, o.longest, o.tied, o.vocabulary, o.width);
}

partition::OptionChecks Mlp::checks() const {
    partition::OptionChecks checks("model");
    const std::int64_t one = 1, most = 1 << 20;
    checks.between("layers", options_.layers, one, most);
    checks.between("width", options_.width, one, most);
    checks.between("inner", options_.inner, one, most);
    checks.between("vocabulary", options_.vocabulary, one, most);
    return checks;
}

void Mlp::check_layout(const partition::ParallelOptions& parallel, partition::OptionChecks& checks) const {
    if (options_.inner % parallel.tensor_parallel_degree == 0) return;
    checks.conflict("parallel.tensor_parallel_degree", parallel.tensor_parallel_degree,
                    fmt::format("must divide model.inner, which is {}", options_.inner), "choose a divisor");
}

std::string Mlp::module_name(int module) const {
    if (module == 0) return "embed";
    return is_head(module) ? "head" : fmt::format("block.{}", module - 1);
}

std::vector<models::Parameter> Mlp::parameters(int module, int tensor_degree, int tensor_rank) const {
    if (module < 0 || module >= module_count() || tensor_rank < 0 || tensor_rank >= tensor_degree)
        throw std::logic_error(
            fmt::format("module {} does not exist on tensor rank {} of {}", module, tensor_rank, tensor_degree));
    const std::int64_t h = options_.width;
    const models::Initialisation normal{models::Start::normal, 0.1};
    models::ParameterList list(module_name(module) + ".", tensor_degree, tensor_rank);
    if (module == 0) {
        list.by_rows("weight", {options_.vocabulary, h}, normal);
    } else if (is_head(module)) {
        models::Parameter& weight = list.by_rows("weight", {options_.vocabulary, h}, normal);
        if (options_.tied) weight.tied_to = "embed.weight";
    } else {
        list.by_columns("up.weight", {h, options_.inner}, normal);
        list.by_columns("up.bias", {options_.inner}, models::kZeros);
        list.by_rows("down.weight", {options_.inner, h}, normal);
        list.whole("down.bias", {h}, models::kZeros);
    }
    return list.take();
}

std::vector<models::StashEntry> Mlp::stash(int module, const models::MicrobatchShare& share) const {
    const auto bytes = [&](MlpExtent extent) {
        return share.value_bytes() * (extent == MlpExtent::residual
                                          ? share.boundary_rows() * options_.width
                                          : share.rows() * rounded_up_part(options_.inner, share.tensor_degree));
    };
    std::vector<models::StashEntry> entries;
    const auto add = [&](const auto& table) { declare(entries, table, share.storage.recomputes_cheap, bytes); };
    if (module == 0)
        add(kMlpEmbeddingStash);
    else if (is_head(module))
        add(kMlpHeadStash);
    else
        add(kMlpBlockStash);
    return entries;
}

models::ModuleWork Mlp::work(int module, const models::MicrobatchShare& share) const {
    if (module == 0) return {};
    const std::int64_t columns =
        rounded_up_part(is_head(module) ? options_.vocabulary : options_.inner, share.tensor_degree);
    const double product = 2.0 * static_cast<double>(share.rows() * options_.width * columns);
    if (is_head(module)) return {.backward_flops = 3 * product, .logits_bytes = 4 * share.rows() * columns};
    return {.is_layer = true, .forward_flops = 2 * product, .backward_flops = 4 * product, .weight_flops = 2 * product};
}

}  // namespace smp::testing
