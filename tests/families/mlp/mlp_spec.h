// The family's LibTorch-free part.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "models/model_spec.h"
#include "tests/families/mlp/mlp.h"

namespace smp::testing {

enum class MlpExtent { residual /* [N', h] */, inner /* [N, inner], this rank's columns */ };
using MlpKept = models::KeptTensor<MlpExtent>;

inline constexpr std::array kMlpEmbeddingStash = {
    MlpKept{"gradient", MlpExtent::residual, models::Pass::backward_input, models::Pass::backward_weight},
};
// Without a LayerNorm the first linear layer's input is the block's own: the weight part still needs it.
inline constexpr std::array kMlpBlockStash = {
    MlpKept{models::kModuleInput, MlpExtent::residual, models::Pass::forward, models::Pass::backward_weight},
    MlpKept{"before", MlpExtent::inner, models::Pass::forward, models::Pass::backward_input},
    MlpKept{"after", MlpExtent::inner, models::Pass::forward, models::Pass::backward_weight, /*cheap=*/true},
    MlpKept{"before.gradient", MlpExtent::inner, models::Pass::backward_input, models::Pass::backward_weight},
    MlpKept{"gradient", MlpExtent::residual, models::Pass::backward_input, models::Pass::backward_weight},
};
inline constexpr std::array kMlpHeadStash = {
    MlpKept{models::kModuleInput, MlpExtent::residual, models::Pass::forward, models::Pass::backward_input},
};

class Mlp final : public models::ModelSpec {
  public:
    explicit Mlp(const MlpOptions& options) : options_(options) {}

    std::string family() const override { return "MLP"; }
    std::string description() const override;
    std::string canonical_text() const override;
    partition::OptionChecks checks() const override;
    void check_layout(const partition::ParallelOptions& parallel, partition::OptionChecks& checks) const override;
    std::int64_t vocabulary() const override { return options_.vocabulary; }
    std::int64_t longest_sequence() const override { return options_.longest; }
    std::int64_t width() const override { return options_.width; }
    int module_count() const override { return static_cast<int>(options_.layers) + 2; }
    std::string module_name(int module) const override;
    std::vector<models::Parameter> parameters(int module, int tensor_degree, int tensor_rank) const override;
    std::vector<models::StashEntry> stash(int module, const models::MicrobatchShare& share) const override;
    models::ModuleWork work(int module, const models::MicrobatchShare& share) const override;

  private:
    bool is_head(int module) const { return module + 1 == module_count(); }

    MlpOptions options_;
};

}  // namespace smp::testing
