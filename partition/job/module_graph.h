// The model as the planner sees it: a chain of modules with their costs. models/ makes one; nothing here knows a
// tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "partition/job/fields.h"
#include "partition/job/precision.h"

namespace smp::partition {

/// Collectives over the tensor group, one after another. `rounds`: a gathering or a reduce-scatter is one, an
/// all-reduce two. `bytes`: that each rank sends (and receives) as a ring does: of S bytes all together and t ranks (t
/// − 1)/t·S a round.
struct Exchange {
    int rounds = 0;
    std::int64_t bytes = 0;

    Exchange& operator+=(const Exchange& other) {
        rounds += other.rounds;
        bytes += other.bytes;
        return *this;
    }
    bool operator==(const Exchange&) const = default;
};
template <>
struct Fields<Exchange> {
    static constexpr auto list = fields<Exchange>(field("rounds", &Exchange::rounds), field("bytes", &Exchange::bytes));
};

/// One round over `ranks` ranks, of a tensor that has `bytes` when it is whole.
constexpr Exchange one_round(std::int64_t bytes, int ranks) {
    return ranks > 1 ? Exchange{.rounds = 1, .bytes = bytes - bytes / ranks} : Exchange{};
}
constexpr Exchange two_rounds(std::int64_t bytes, int ranks) {
    const Exchange one = one_round(bytes, ranks);
    return {.rounds = 2 * one.rounds, .bytes = 2 * one.bytes};
}

/// What one pass of a module takes. Memory is beside what was there when it began: its input, the gradient that it is
/// given, and what it has kept before.
struct PassUse {
    std::int64_t scratch = 0;  // the most at once of what it makes itself, which stays or goes when it ends; no logits
    std::int64_t growth = 0;   // the most at once beyond what it found, some of which it lets go on its way
    std::int64_t left = 0;     // beyond what it found when it has ended; below 0 where it lets go of more than it keeps
    Exchange exchange = {};    // with the tensor group

    bool operator==(const PassUse&) const = default;
};
template <>
struct Fields<PassUse> {
    static constexpr auto list = fields<PassUse>(field("scratch", &PassUse::scratch), field("growth", &PassUse::growth),
                                                 field("left", &PassUse::left), field("exchange", &PassUse::exchange));
};

/// The passes of one microbatch. What they make without a backward to come is evaluation's.
struct ModulePasses {
    PassUse forward, evaluation;
    PassUse backward;                         // at once, or …
    PassUse backward_input, backward_weight;  // … in two parts

    bool operator==(const ModulePasses&) const = default;
};
template <>
struct Fields<ModulePasses> {
    static constexpr auto list = fields<ModulePasses>(
        field("forward", &ModulePasses::forward), field("evaluation", &ModulePasses::evaluation),
        field("backward", &ModulePasses::backward), field("backward_input", &ModulePasses::backward_input),
        field("backward_weight", &ModulePasses::backward_weight));
};

/// One module of the chain. Bytes and FLOPs are of one rank (after tensor parallelism) and, where they depend on it, of
/// one microbatch.
struct Module {
    std::string name;                   // Hugging Face's: "wte", "h.3", "lm_head"
    bool is_layer = false;              // counted by `parallel.stage_layers`; embedding and head are not
    std::int64_t parameter_count = 0;   // elements, shared parameters included
    std::int64_t padding_elements = 0;  // behind its parameters in flat buffers (partition/job/flat_padding.h)
    double forward_flops = 0;
    double backward_flops = 0;        // all of it: for inputs and for weights
    double weight_flops = 0;          // the part of backward_flops that makes weight gradients
    std::int64_t stash_bytes = 0;     // kept from forward to backward beside the module's input
    std::int64_t deferred_bytes = 0;  // kept from the input part of the backward to its weight part, where it is split
    std::int64_t logits_bytes = 0;    // of the last module: alive at once while it computes the loss
    std::int64_t output_bytes = 0;    // boundary tensor handed to the next module; 0 after the last
    std::int64_t row_gradient_bytes = 0;  // gradients of a rank's own rows only, which the tensor group sums
    ModulePasses passes = {};

    bool operator==(const Module&) const = default;
};
template <>
struct Fields<Module> {
    static constexpr auto list = fields<Module>(
        stated("name", &Module::name), field("is_layer", &Module::is_layer),
        field("parameter_count", &Module::parameter_count), field("padding_elements", &Module::padding_elements),
        field("forward_flops", &Module::forward_flops), field("backward_flops", &Module::backward_flops),
        field("weight_flops", &Module::weight_flops), field("stash_bytes", &Module::stash_bytes),
        field("deferred_bytes", &Module::deferred_bytes), field("logits_bytes", &Module::logits_bytes),
        field("output_bytes", &Module::output_bytes), field("row_gradient_bytes", &Module::row_gradient_bytes),
        field("passes", &Module::passes));
};

/// A parameter that several modules use (the tied embedding). Each stage that holds one of them keeps a copy; the
/// gradients of the copies are summed.
struct SharedParameter {
    std::string name;
    std::int64_t parameter_count = 0;
    std::int64_t padding_elements = 0;  // as in Module
    std::vector<int> modules;           // indices into ModuleGraph::modules, ascending, at least two

    bool operator==(const SharedParameter&) const = default;
};
template <>
struct Fields<SharedParameter> {
    static constexpr auto list = fields<SharedParameter>(
        stated("name", &SharedParameter::name), field("parameter_count", &SharedParameter::parameter_count),
        field("padding_elements", &SharedParameter::padding_elements), field("modules", &SharedParameter::modules));
};

struct ModuleGraph {
    std::vector<Module> modules;
    std::vector<SharedParameter> shared;
    Precision precision = Precision::fp32;

    bool operator==(const ModuleGraph&) const = default;
};
template <>
struct Fields<ModuleGraph> {
    static constexpr auto list =
        fields<ModuleGraph>(stated("modules", &ModuleGraph::modules), field("shared", &ModuleGraph::shared),
                            stated("precision", &ModuleGraph::precision));
};

/// What the modules [first, end) keep of a microbatch from forward to backward: their stashes and the boundary tensors
/// between them. The input of the first is not among it.
std::int64_t kept_bytes(const ModuleGraph& graph, int first, int end);

}  // namespace smp::partition
