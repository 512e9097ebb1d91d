// GPT-2 as a family of models: what planning and training ask of it, without LibTorch.
#pragma once

#include <string>
#include <vector>

#include "models/device_rules.h"
#include "models/gpt2/options.h"
#include "models/model_spec.h"

namespace smp::models {

/// Modules in order of execution: the embedding ("wte", with the positions), "h.0" … "h.{L−1}", "lm_head" (with ln_f).
class Gpt2 final : public ModelSpec, public DeviceRules {
  public:
    explicit Gpt2(const Gpt2Options& options) : options_(options) {}

    const Gpt2Options& options() const { return options_; }

    std::string family() const override { return "GPT-2"; }
    std::string description() const override;
    std::string canonical_text() const override;
    partition::OptionChecks checks() const override;
    void check_layout(const partition::ParallelOptions& parallel, partition::OptionChecks& checks) const override;
    void check_share(const MicrobatchShare& share, partition::OptionChecks& checks) const override;
    std::int64_t vocabulary() const override { return options_.vocab_size; }
    std::int64_t longest_sequence() const override { return options_.n_positions; }
    std::int64_t width() const override { return options_.n_embd; }
    int module_count() const override;
    std::string module_name(int module) const override;
    std::vector<Parameter> parameters(int module, int tensor_degree, int tensor_rank) const override;
    std::vector<StashEntry> stash(int module, const MicrobatchShare& share) const override;
    ModuleWork work(int module, const MicrobatchShare& share) const override;
    partition::ModulePasses passes(int module, const MicrobatchShare& share) const override;
    /// Hugging Face writes them with and without "transformer.".
    std::vector<std::string> names_in_files(const std::string& parameter) const override;
    StrayTensor meaning_of(const std::string& tensor) const override;
    /// Hugging Face's: by the rules of model.preset, of what changes the arithmetic.
    std::vector<std::string> disagreements(const std::string& config_json) const override;

  private:
    Gpt2Options options_;
};

}  // namespace smp::models
