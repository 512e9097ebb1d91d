// Whether a plan, sound by itself, is one of these modules: what it reduces, exchanges with tensor groups and receives
// room for are theirs.
#include <algorithm>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"
#include "partition/job/flat_padding.h"
#include "partition/plan/library_sums.h"

namespace smp::partition::passes {
namespace {

const PassUse& pass_of(const ModulePasses& passes, ActionKind kind, bool training) {
    if (kind == ActionKind::backward) return passes.backward;
    if (kind == ActionKind::backward_input) return passes.backward_input;
    if (kind == ActionKind::backward_weight) return passes.backward_weight;
    return training ? passes.forward : passes.evaluation;
}

/// With the tensor group: computations as their modules' passes do, and the rows of each chunk once.
void check_exchange(const Plan& plan, const ModuleGraph& graph, Findings& findings) {
    Table<ChunkId, Exchange> rows(plan.chunks.size()), summed = rows;
    for (const ChunkId chunk : plan.chunks.ids()) {
        std::int64_t bytes = 0;
        for (int m = plan.chunks[chunk].first_module; m < plan.chunks[chunk].end_module; ++m)
            bytes += graph.modules[static_cast<std::size_t>(m)].row_gradient_bytes;
        if (bytes > 0) rows[chunk] = two_rounds(bytes, plan.topology.degrees.tp);
    }
    const auto check = [&](const char* what, const Programs& programs, bool training) {
        for (const StageId stage : programs.ids()) {
            for (const ActionId i : programs[stage].actions.ids()) {
                const Action& action = programs[stage].actions[i];
                const bool computes =
                    facts_of(action.kind).computation.has_value() || action.kind == ActionKind::recompute;
                if (action.kind == ActionKind::sum_row_gradients) summed[action.chunk] += action.tensor;
                if (!computes) continue;
                const Chunk& chunk = plan.chunks[action.chunk];
                const bool is_group = action.group != kNone;
                const int first = is_group ? chunk.groups[action.group] : chunk.first_module;
                const int end = is_group ? chunk.group_end(action.group) : chunk.end_module;
                Exchange wanted;
                for (int m = first; m < end; ++m)
                    wanted +=
                        pass_of(graph.modules[static_cast<std::size_t>(m)].passes, action.kind, training).exchange;
                if (action.tensor != wanted)
                    findings.push_back(fmt::format(
                        "{}: {} exchanges {} bytes in {} rounds with its tensor group, its modules {} in {}", what,
                        shown(programs, {stage, i}), action.tensor.bytes, action.tensor.rounds, wanted.bytes,
                        wanted.rounds));
            }
        }
    };
    check("training", plan.training, true);
    check("evaluation", plan.evaluation, false);
    check("sampling", plan.sampling, false);
    for (const ChunkId chunk : plan.chunks.ids())
        if (summed[chunk] != rows[chunk])
            findings.push_back(
                fmt::format("training: the row gradients of chunk {} are summed in {} bytes and {} rounds, where {} "
                            "and {} are",
                            chunk, summed[chunk].bytes, summed[chunk].rounds, rows[chunk].bytes, rows[chunk].rounds));
}

/// Room for what a rank receives of the others; none at all where a library makes the sums.
void check_reduction_scratch(const Plan& plan, Findings& findings) {
    if (!has_reduction_scratch(plan)) return;
    const int replicas = plan.topology.degrees.rdp;
    for (const StageId stage : plan.training.ids()) {
        const RankProgram& program = plan.training[stage];
        for (const ActionId i : program.actions.ids()) {
            const Action& action = program.actions[i];
            if (action.kind != ActionKind::reduce_gradients) continue;
            const std::int64_t wanted = plan.shard_optimizer_state
                                            ? reduce_scatter_scratch(action.bytes, replicas, plan.transport)
                                            : all_reduce_scratch(action.bytes, replicas, plan.transport);
            const std::int64_t found = action.scratch.empty() ? 0 : program.buffers[action.scratch.front()].bytes;
            if (found < wanted)
                findings.push_back(fmt::format("training: {} has {} bytes for the terms of others, which take {}",
                                               shown(plan.training, {stage, i}), found, wanted));
        }
    }
}

}  // namespace

Findings check_model(const Plan& plan, const ModuleGraph& graph) {
    Findings findings;
    if (plan.chunks.back().end_module != static_cast<int>(graph.modules.size()))
        findings.push_back(fmt::format("the chunks hold {} modules, the model has {}", plan.chunks.back().end_module,
                                       graph.modules.size()));
    const Degrees& degrees = plan.topology.degrees;
    const std::int64_t multiple = flat_multiple(graph.precision, degrees.rdp);
    for (const ChunkId chunk : plan.chunks.ids()) {
        if (!findings.empty()) return findings;  // modules are looked up
        const FlatSection& section = plan.sections[chunk];
        const std::int64_t elements = section_elements(graph, plan.chunks, chunk, degrees.rdp);
        if (section.elements != elements)
            findings.push_back(fmt::format("the section of chunk {} has {} elements, its parameters take {}", chunk,
                                           section.elements, elements));
        if (section.bucket_elements % multiple != 0)
            findings.push_back(fmt::format("the buckets of chunk {} have {} elements, no multiple of {}", chunk,
                                           section.bucket_elements, multiple));
    }
    if (!findings.empty()) return findings;
    check_exchange(plan, graph, findings);
    check_reduction_scratch(plan, findings);
    const auto is_copy = [&](const Buffer& buffer) {
        if (buffer.shared < 0 || buffer.shared >= static_cast<int>(graph.shared.size())) return false;
        const auto& modules = graph.shared[static_cast<std::size_t>(buffer.shared)].modules;
        return std::find(modules.begin(), modules.end(), buffer.module) != modules.end();
    };
    for (const StageId stage : plan.training.ids()) {
        for (const Buffer& buffer : plan.training[stage].buffers) {
            const bool is_tied = buffer.kind == BufferKind::tied_gradient || buffer.kind == BufferKind::tied_received;
            if (is_tied && !is_copy(buffer))
                findings.push_back(
                    fmt::format("training: stage {} has {}, where the model shares nothing", stage, name_of(buffer)));
        }
    }
    return findings;
}

}  // namespace smp::partition::passes
