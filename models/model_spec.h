// What planning and training ask of a family of models, without LibTorch. A family is a class of these and a function
// that makes its segments (model.h); models/README.md says how to add one.
//
// A model is a chain of modules: the first turns tokens into a boundary tensor [N', h], each of the others but the last
// one such into another, and the last one makes the loss. All of it is a function of the family's own options.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/microbatch_share.h"
#include "models/parameter.h"
#include "models/stash.h"
#include "partition/job/module_graph.h"
#include "partition/job/option_checks.h"
#include "partition/job/options.h"

namespace smp::models {

/// What a module costs beside its parameters, its stash and its boundary tensor: fields as in partition::Module.
struct ModuleWork {
    bool is_layer = false;
    double forward_flops = 0;
    double backward_flops = 0;
    double weight_flops = 0;
    std::int64_t logits_bytes = 0;
};

/// What a tensor in a file of weights is that no parameter has the name of.
enum class StrayTensor {
    constant,  // follows from the model: ignored
    apart,     // belongs to something beside the model: named to the person, and ignored
    part,      // of what the file's model computes, and not of what this one does: refused
};

/// Immutable: one may be shared by jobs, ranks and threads. Modules are counted from 0; `tensor_rank` <
/// `tensor_degree`.
class ModelSpec {
  public:
    virtual ~ModelSpec() = default;

    /// "GPT-2".
    virtual std::string family() const = 0;
    /// Its sizes for a person: "12 layers, 768 wide, 12 heads, vocabulary 50257".
    virtual std::string description() const = 0;
    /// All that the model is a function of, as sorted lines "model.key=value": what ranks compare where a job states no
    /// text of its own.
    virtual std::string canonical_text() const = 0;

    /// What its options may be, and what they break, with keys "model.…". The functions below may be asked only where
    /// that is nothing.
    virtual partition::OptionChecks checks() const = 0;
    /// What speaks against this layout of this model: tensor degrees that do not divide it.
    virtual void check_layout(const partition::ParallelOptions& parallel, partition::OptionChecks& checks) const = 0;

    /// Tokens are from 0 up to here, without padding.
    virtual std::int64_t vocabulary() const = 0;
    /// Tokens of a sequence, at most.
    virtual std::int64_t longest_sequence() const = 0;
    /// h, of every boundary tensor.
    virtual std::int64_t width() const = 0;

    /// In order of execution.
    virtual int module_count() const = 0;
    virtual std::string module_name(int module) const = 0;
    /// One tensor rank's; a parameter that is tied comes in a later module than what it is tied to. Throws
    /// std::logic_error for a module or a tensor rank that cannot be.
    virtual std::vector<Parameter> parameters(int module, int tensor_degree, int tensor_rank) const = 0;
    /// What the module's segment keeps: entry i is the i-th tensor of its Stash.
    virtual std::vector<StashEntry> stash(int module, const MicrobatchShare& share) const = 0;
    virtual ModuleWork work(int module, const MicrobatchShare& share) const = 0;
    /// What the passes of its segment take while they run (models/pass_sketch.h). Where a family states nothing, a
    /// forecast counts what they leave and no more, and no exchange with the tensor group.
    virtual partition::ModulePasses passes(int /*module*/, const MicrobatchShare& /*share*/) const { return {}; }

    /// Names under which files of weights may have a parameter that is tied to no other, the likeliest first.
    virtual std::vector<std::string> names_in_files(const std::string& parameter) const { return {parameter}; }
    virtual StrayTensor meaning_of(const std::string& /*tensor*/) const { return StrayTensor::part; }
    /// What the config.json beside a file of weights says against this model: sentences with both values.
    virtual std::vector<std::string> disagreements(const std::string& /*config_json*/) const { return {}; }
};

std::vector<std::string> module_names(const ModelSpec& model);

/// Logical parameters in the order of the model; what is tied to another is that other, and not listed.
std::vector<std::string> parameter_names(const ModelSpec& model);

/// Elements of the whole model, without padding, tied ones counted once.
std::int64_t parameter_count(const ModelSpec& model);

/// The model as the planner sees it: costs of one rank's share of a microbatch. Parameters include padding.
partition::ModuleGraph module_graph(const ModelSpec& model, const MicrobatchShare& share);

}  // namespace smp::models
