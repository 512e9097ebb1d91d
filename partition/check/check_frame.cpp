// What stands around the programs: degrees, chunks, bounds, counts. The passes over the programs index and allocate by
// these, so this one comes first and takes nothing for granted: a plan may come out of a file.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

/// All buffers, or messages, of a program; all counts, and all work, of a model. Sums of these, and their nanoseconds,
/// stay within 64 bits.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 56;
constexpr double kMostFlops = 1e20;
constexpr std::int64_t kMostRounds = std::int64_t{1} << 32;
/// Groups of ranks are listed.
constexpr int kMostRanks = 1 << 24;

/// Adds up what must not be negative, nor too much together.
template <typename Number>
struct Total {
    Number most;
    Number sum = 0;

    bool takes(Number value) {
        if (!(value >= 0 && value <= most - sum)) return false;
        sum += value;
        return true;
    }
};

void check_degrees(const Plan& plan, Findings& findings) {
    const Degrees& degrees = plan.topology.degrees;
    const double world = static_cast<double>(degrees.pp) * degrees.tp * degrees.rdp;
    if (degrees.pp < 1 || degrees.tp < 1 || degrees.rdp < 1 || world > kMostRanks)
        findings.push_back(
            fmt::format("degrees {} x {} x {}: each must be 1 or more, and all together {} ranks or less", degrees.pp,
                        degrees.tp, degrees.rdp, kMostRanks));
    const auto& order = plan.topology.order;
    if (std::set(order.begin(), order.end()).size() != order.size())
        findings.push_back("the order of ranks names an axis twice");
}

void check_programs(const Plan& plan, Findings& findings) {
    const auto check = [&](const char* what, const Programs& programs) {
        if (programs.size() != static_cast<std::size_t>(plan.topology.degrees.pp)) {
            findings.push_back(
                fmt::format("{}: {} programs for {} stages", what, programs.size(), plan.topology.degrees.pp));
            return;
        }
        for (const StageId stage : programs.ids()) {
            const RankProgram& program = programs[stage];
            const auto actions = static_cast<std::int64_t>(program.actions.size());
            const auto refuse = [&](const std::string& finding) {
                findings.push_back(fmt::format("{}: stage {} {}", what, stage, finding));
            };
            if (program.events < 0 || program.events > actions)
                refuse(fmt::format("has {} events for {} actions", program.events, actions));
            Total<std::int64_t> held{kMostBytes}, moved{kMostBytes};
            for (const Buffer& buffer : program.buffers)
                if (!held.takes(buffer.bytes)) refuse(fmt::format("has {} of {} bytes", name_of(buffer), buffer.bytes));
            Total<std::int64_t> exchanged{kMostBytes}, grown{kMostBytes}, rounds{kMostRounds};
            for (const Action& action : program.actions) {
                if (!moved.takes(action.bytes))
                    refuse(fmt::format("moves {} bytes by {}", action.bytes, name_of(action)));
                if (!exchanged.takes(action.tensor.bytes) || !rounds.takes(action.tensor.rounds))
                    refuse(fmt::format("exchanges {} bytes in {} rounds by {}", action.tensor.bytes,
                                       action.tensor.rounds, name_of(action)));
                if (!grown.takes(action.growth_bytes))
                    refuse(fmt::format("takes {} bytes more by {}", action.growth_bytes, name_of(action)));
            }
        }
    };
    check("training", plan.training);
    check("evaluation", plan.evaluation);
    check("sampling", plan.sampling);
}

/// Chunks follow one another and every stage holds some; groups cut a chunk.
void check_chunks(const Plan& plan, Findings& findings) {
    const Chunks& chunks = plan.chunks;
    std::vector<bool> is_used(plan.training.size());
    for (const ChunkId i : chunks.ids()) {
        const Chunk& chunk = chunks[i];
        const int begin = i == ChunkId(0) ? 0 : chunks[i - 1].end_module;
        if (plan.training.has(chunk.stage))
            is_used[chunk.stage.index()] = true;
        else
            findings.push_back(fmt::format("chunk {} is on stage {} of {}", i, chunk.stage, plan.training.size()));
        if (chunk.first_module != begin || chunk.end_module <= begin)
            findings.push_back(fmt::format("chunk {} has modules {} to {}, where the one before ends at {}", i,
                                           chunk.first_module, chunk.end_module, begin));
        const auto& groups = chunk.groups;
        if (groups.empty()) continue;
        const bool ascends = std::adjacent_find(groups.begin(), groups.end(), std::greater_equal<>()) == groups.end();
        if (groups.front() != chunk.first_module || groups.back() >= chunk.end_module || !ascends)
            findings.push_back(fmt::format("the groups of chunk {} do not cut it", i));
    }
    for (const StageId stage : plan.training.ids())
        if (!is_used[stage.index()]) findings.push_back(fmt::format("stage {} has none of the chunks", stage));
}

/// Each stage has at least an action for each microbatch on each of its chunks, or groups of it.
void check_counts(const Plan& plan, Findings& findings) {
    const Placement placement = placement_of(plan.chunks, plan.topology.degrees.pp);
    const auto check = [&](const char* what, const Programs& programs, int microbatches, bool in_groups) {
        for (const StageId stage : programs.ids()) {
            std::int64_t parts = 0;
            for (const ChunkId chunk : placement.chunks_of(stage))
                parts += in_groups ? std::max<std::int64_t>(1, std::ssize(plan.chunks[chunk].groups)) : 1;
            const auto actions = static_cast<std::int64_t>(programs[stage].actions.size());
            if (microbatches < 1 || microbatches > actions / std::max<std::int64_t>(1, parts))
                findings.push_back(
                    fmt::format("{}: stage {} has {} actions, where each of {} microbatches takes {} or more", what,
                                stage, actions, microbatches, parts));
        }
    };
    check("training", plan.training, plan.microbatches, /*in_groups=*/true);
    check("evaluation", plan.evaluation, plan.evaluation_microbatches, /*in_groups=*/false);
    check("sampling", plan.sampling, 1, /*in_groups=*/false);
}

/// As long as the buffers that they cut, in buckets that are no more than the actions they would take.
void check_sections(const Plan& plan, Findings& findings) {
    if (plan.sections.size() != plan.chunks.size()) {
        findings.push_back(
            fmt::format("{} sections of flat buffers for {} chunks", plan.sections.size(), plan.chunks.size()));
        return;
    }
    for (const ChunkId chunk : plan.chunks.ids()) {
        const FlatSection& section = plan.sections[chunk];
        const bool is_cut = section.elements >= 0 && section.elements <= kMostBytes && section.bucket_elements >= 0 &&
                            section.bucket_elements <= kMostBytes;
        const auto actions = std::ssize(plan.training[plan.chunks[chunk].stage].actions);
        if (!is_cut || (section.bucket_elements > 0 && section.elements / section.bucket_elements > actions))
            findings.push_back(fmt::format("the section of chunk {} has {} elements in buckets of {}", chunk,
                                           section.elements, section.bucket_elements));
    }
    if (!findings.empty()) return;
    for (const auto* programs : {&plan.training, &plan.evaluation, &plan.sampling}) {
        for (const RankProgram& program : *programs) {
            for (const Buffer& buffer : program.buffers) {
                const bool are_gradients = buffer.kind == BufferKind::gradients;
                if ((!are_gradients && buffer.kind != BufferKind::parameters) || !plan.sections.has(buffer.chunk))
                    continue;
                const std::int64_t elements = plan.sections[buffer.chunk].elements;
                if (buffer.bytes != kGradientBytes * elements && (are_gradients || buffer.bytes != 2 * elements))
                    findings.push_back(fmt::format("{} has {} bytes, its section {} elements", name_of(buffer),
                                                   buffer.bytes, elements));
            }
        }
    }
}

void check_bounds(const Plan& plan, Findings& findings) {
    if (plan.evaluation_boundaries < 1)
        findings.push_back(fmt::format("{} boundary tensors of an evaluation", plan.evaluation_boundaries));
    if (plan.active_microbatches < 1 || plan.active_microbatches > plan.microbatches)
        findings.push_back(
            fmt::format("{} of {} microbatches may be active", plan.active_microbatches, plan.microbatches));
    if (plan.loading_horizon < 0) findings.push_back(fmt::format("a loading horizon of {}", plan.loading_horizon));
    const std::size_t bounds =
        facts_of(plan.schedule).splits_backward ? static_cast<std::size_t>(plan.topology.degrees.pp) : 0;
    if (plan.held_bytes.size() != bounds)
        findings.push_back(fmt::format("{} bounds on held bytes, where {} needs {}", plan.held_bytes.size(),
                                       word_of(plan.schedule), bounds));
    for (const std::int64_t bytes : plan.held_bytes)
        if (bytes < 0) findings.push_back(fmt::format("a bound of {} bytes held", bytes));
}

}  // namespace

Findings check_frame(const Plan& plan) {
    Findings findings;
    check_degrees(plan, findings);
    if (findings.empty()) check_programs(plan, findings);
    if (findings.empty()) check_chunks(plan, findings);
    if (findings.empty()) check_counts(plan, findings);
    if (findings.empty()) check_sections(plan, findings);
    if (findings.empty()) check_bounds(plan, findings);
    return findings;
}

Findings check_graph(const ModuleGraph& graph) {
    Findings findings;
    Total<std::int64_t> counts{kMostBytes};
    Total<double> work{kMostFlops};
    for (const Module& module : graph.modules) {
        bool are_costs = module.weight_flops <= module.backward_flops;
        for (const std::int64_t count :
             {module.parameter_count, module.padding_elements, module.stash_bytes, module.deferred_bytes,
              module.logits_bytes, module.output_bytes, module.row_gradient_bytes})
            are_costs = counts.takes(count) && are_costs;
        for (const double flops : {module.forward_flops, module.backward_flops, module.weight_flops})
            are_costs = work.takes(flops) && are_costs;
        const ModulePasses& passes = module.passes;
        for (const PassUse* use :
             {&passes.forward, &passes.evaluation, &passes.backward, &passes.backward_input, &passes.backward_weight})
            are_costs = counts.takes(use->scratch) && counts.takes(use->growth) &&
                        counts.takes(use->left < 0 ? -(use->left + 1) : use->left) &&
                        counts.takes(use->exchange.bytes) && counts.takes(use->exchange.rounds) && are_costs;
        if (!are_costs) findings.push_back(fmt::format("the costs of module {} are no costs", module.name));
    }
    for (const SharedParameter& shared : graph.shared) {
        const auto& modules = shared.modules;
        const bool ascends =
            std::adjacent_find(modules.begin(), modules.end(), std::greater_equal<>()) == modules.end();
        // Each copy counts: sections leave all of a stage's out but one.
        const bool are_counts = std::all_of(modules.begin(), modules.end(), [&](int) {
            return counts.takes(shared.parameter_count) && counts.takes(shared.padding_elements);
        });
        if (modules.size() < 2 || !ascends || modules.front() < 0 ||
            modules.back() >= static_cast<int>(graph.modules.size()) || !are_counts)
            findings.push_back(fmt::format("the modules of {} are no modules of the model", shared.name));
    }
    return findings;
}

}  // namespace smp::partition::passes
