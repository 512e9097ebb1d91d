// smp_plan --format text: the report for people.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/text_table.h"
#include "launch/plan/plan_report.h"
#include "models/model_spec.h"
#include "partition/foresight/memory_use.h"
#include "partition/stages/chunk_costs.h"

namespace smp::launch {

namespace {

using partition::Action;
using partition::ActionKind;
using partition::shown_bytes;
using Rows = std::vector<std::vector<std::string>>;

std::string line(const std::string& title, const std::string& text) { return fmt::format("{:<9}| {}\n", title, text); }

/// Of a chunk: a shared parameter belongs to the first module that uses it.
std::int64_t own_parameters(const partition::ModuleGraph& graph, const partition::Chunk& chunk) {
    std::int64_t count = partition::costs_of(graph, chunk).parameter_count;
    for (const partition::SharedParameter& shared : graph.shared)
        for (std::size_t i = 1; i < shared.modules.size(); ++i)
            if (shared.modules[i] >= chunk.first_module && shared.modules[i] < chunk.end_module)
                count -= shared.parameter_count;
    return count;
}

std::string model_text(const PlanReport& report) {
    if (report.config) {
        const models::ModelSpec& model = *report.config->model.spec;
        return fmt::format("{}: {} parameters", model.description(),
                           shown_count(static_cast<double>(models::parameter_count(model))));
    }
    // A saved plan knows its modules, as one tensor rank has them, and no more.
    const partition::Chunk all{
        .stage = {}, .first_module = 0, .end_module = static_cast<int>(report.graph.modules.size())};
    return fmt::format("{} among {}: {} parameters for each tensor rank",
                       counted(partition::costs_of(report.graph, all).layers, "layer"),
                       counted(all.end_module, "module"),
                       shown_count(static_cast<double>(own_parameters(report.graph, all))));
}

std::string ranks_text(const PlanReport& report) {
    const auto& topology = report.plan.topology;
    const auto& degrees = topology.degrees;
    std::string text = fmt::format("{} = {} pipeline x {} tensor x {} data, placement {}", degrees.world(), degrees.pp,
                                   degrees.tp, degrees.rdp, partition::placement_letters(topology));
    if (report.config) {
        const int nodes = report.config->cluster.nodes;
        text += fmt::format(", on {} of {}", counted(nodes, "node"), degrees.world() / nodes);
    }
    if (degrees.world() == 1) return text;
    return text + (report.plan.transport == partition::Transport::messages ? ", as processes that exchange messages"
                                                                           : ", as threads of one process");
}

/// "0, 1, 2, 3, …, 63", of numbers in ascending order.
std::string shortened(const std::vector<int>& numbers) {
    constexpr std::size_t kShown = 8;
    if (numbers.size() <= kShown) return fmt::format("{}", fmt::join(numbers, ", "));
    return fmt::format("{}, ..., {}", fmt::join(numbers.begin(), numbers.begin() + kShown - 2, ", "), numbers.back());
}

/// The groups of rank 0.
std::string groups_text(const PlanReport& report) {
    const auto& topology = report.plan.topology;
    const auto group = [&](const std::string& name, partition::Axis axis) {
        const std::vector<int> ranks = partition::group_along(topology, {}, axis);
        if (!report.config) return fmt::format("{} {}", name, shortened(ranks));
        const int ranks_per_node = topology.degrees.world() / report.config->cluster.nodes;
        std::set<int> nodes;
        for (const int rank : ranks) nodes.insert(rank / ranks_per_node);
        return fmt::format("{} {} (node{} {})", name, shortened(ranks), nodes.size() == 1 ? "" : "s",
                           shortened({nodes.begin(), nodes.end()}));
    };
    return fmt::format("the first of each: {}; {}; {}", group("tensor", partition::Axis::tensor),
                       group("pipeline", partition::Axis::pipeline), group("data", partition::Axis::data));
}

std::int64_t tokens_of(const Config& config, const partition::Plan& plan) {
    return runtime::global_batch(config.training, config.parallel, plan.topology.degrees.rdp) *
           runtime::sequence_length(config.training, config.model.spec->longest_sequence());
}

std::string batch_text(const PlanReport& report) {
    const auto& plan = report.plan;
    const int rdp = plan.topology.degrees.rdp;
    if (!report.config)
        return fmt::format("{} on each of {}", counted(plan.microbatches, "microbatch"), counted(rdp, "replica"));
    const Config& config = *report.config;
    const std::int64_t sequences = runtime::global_batch(config.training, config.parallel, rdp);
    return fmt::format("{} of {} tokens, {} of {} on each of {}", counted(sequences, "sequence"),
                       runtime::sequence_length(config.training, config.model.spec->longest_sequence()),
                       counted(plan.microbatches, "microbatch"), sequences / rdp / plan.microbatches,
                       counted(rdp, "replica"));
}

std::string schedule_text(const partition::Plan& plan) {
    const auto chunks = static_cast<std::int64_t>(plan.chunks.size()) / plan.topology.degrees.pp;
    int reached = 0;
    for (const auto& program : plan.training) reached = std::max(reached, peak_microbatches(program));
    return fmt::format("{} ({}), {} a stage, at most {} active (K = {})", partition::word_of(plan.schedule),
                       facts_of(plan.schedule).meaning, counted(chunks, "chunk"), counted(reached, "microbatch"),
                       plan.active_microbatches);
}

std::string chunks_table(const PlanReport& report) {
    const auto& modules = report.graph.modules;
    const auto flops = partition::stage_flops(report.graph, report.plan.chunks, report.plan.topology.degrees.pp);
    const double total = std::accumulate(flops.begin(), flops.end(), 0.0);
    Rows rows = {{"stage", "chunk", "modules", "layers", "parameters", "FLOPs", "share"}};
    for (const partition::ChunkId i : report.plan.chunks.ids()) {
        const auto& chunk = report.plan.chunks[i];
        const partition::ChunkCosts costs = partition::costs_of(report.graph, chunk);
        const std::string& first = modules[static_cast<std::size_t>(chunk.first_module)].name;
        const std::string& last = modules[static_cast<std::size_t>(chunk.end_module) - 1].name;
        rows.push_back({fmt::to_string(chunk.stage), fmt::to_string(i),
                        first == last ? first : fmt::format("{} - {}", first, last), std::to_string(costs.layers),
                        shown_count(static_cast<double>(own_parameters(report.graph, chunk))), shown_si(costs.flops()),
                        shown_percent(total > 0 ? costs.flops() / total : 0)});
    }
    return text_table(rows, 3);
}

/// Which kinds of action the table of a step counts, in its order.
struct Column {
    std::string title;
    std::vector<ActionKind> kinds;
};

std::vector<Column> action_columns(const partition::Plan& plan) {
    std::vector<Column> columns = {{"F", {ActionKind::forward}}};
    if (facts_of(plan.schedule).splits_backward) {
        columns.push_back({"BI", {ActionKind::backward_input}});
        columns.push_back({"BW", {ActionKind::backward_weight}});
    } else {
        columns.push_back({"B", {ActionKind::backward}});
    }
    columns.push_back({"sends", {ActionKind::send}});
    columns.push_back({"receives", {ActionKind::receive}});
    columns.push_back(
        {"reductions", {ActionKind::sum_tied_gradients, ActionKind::sum_row_gradients, ActionKind::reduce_gradients}});
    return columns;
}

std::string step_legend(const partition::Plan& plan) {
    return fmt::format(
        "F: forwards, {}, of a microbatch through a chunk or a group of it; in flight: microbatches held at "
        "once between the two; waits for transfers: for messages under way, and in collectives over the tensor group; "
        "bubble: waiting for other stages\n",
        facts_of(plan.schedule).splits_backward ? "BI and BW: input and weight parts of backwards" : "B: backwards");
}

std::string step_table(const PlanReport& report) {
    const auto columns = action_columns(report.plan);
    const auto& timeline = report.timeline;
    const auto share = [&](std::int64_t ticks) {
        return shown_percent(static_cast<double>(ticks) /
                             static_cast<double>(std::max<std::int64_t>(1, timeline.makespan)));
    };
    Rows rows(1, {"stage"});
    for (const Column& column : columns) rows[0].push_back(column.title);
    rows[0].insert(rows[0].end(), {"in flight", "computes", "waits for transfers", "bubble"});
    for (const partition::StageId stage : report.plan.training.ids()) {
        const auto& program = report.plan.training[stage];
        std::vector<std::string> row = {fmt::to_string(stage)};
        for (const Column& column : columns) {
            row.push_back(
                std::to_string(std::count_if(program.actions.begin(), program.actions.end(), [&](const Action& action) {
                    return std::count(column.kinds.begin(), column.kinds.end(), action.kind) > 0;
                })));
        }
        const partition::StageTime& time = timeline.stages[stage];
        row.insert(row.end(), {std::to_string(peak_microbatches(program)), share(time.compute), share(time.exposed),
                               share(time.bubble)});
        rows.push_back(std::move(row));
    }
    return text_table(rows);
}

/// Categories that some stage has, and all together.
std::string memory_table(const PlanReport& report) {
    std::vector<partition::MemoryForecast> stages;
    for (const partition::StageId stage : report.plan.training.ids())
        stages.push_back(partition::memory_forecast(report.plan, report.graph, stage));
    Rows rows(1, {"stage"});
    for (std::size_t stage = 0; stage < stages.size(); ++stage) rows.push_back({std::to_string(stage)});
    for (std::size_t c = 0; c < partition::kMemoryCategories; ++c) {
        if (std::ranges::all_of(stages, [c](const auto& stage) { return stage.peak[c] == 0; })) continue;
        rows[0].emplace_back(partition::Words<partition::MemoryCategory>::list[c]);
        for (std::size_t stage = 0; stage < stages.size(); ++stage)
            rows[stage + 1].push_back(partition::shown_bytes(stages[stage].peak[c]));
    }
    rows[0].emplace_back("all at once");
    for (std::size_t stage = 0; stage < stages.size(); ++stage)
        rows[stage + 1].push_back(partition::shown_bytes(stages[stage].device_peak));
    if (!report.plan.evaluates) return text_table(rows);
    rows[0].emplace_back("in an evaluation");
    for (const partition::StageId stage : report.plan.training.ids())
        rows[stage.index() + 1].push_back(
            partition::shown_bytes(partition::evaluation_forecast(report.plan, report.graph, stage).device_peak));
    return text_table(rows);
}

/// How much a job that fits leaves free; nothing where no limit is known, or it is a warning that it does not fit.
std::string room_text(const PlanReport& report) {
    const auto limit = report.config ? partition::memory_limit(report.config->cluster) : std::nullopt;
    if (!limit) return "";
    std::int64_t most = 0;
    for (const partition::StageId stage : report.plan.training.ids())
        most = std::max(most, partition::memory_forecast(report.plan, report.graph, stage).device_peak);
    if (most > *limit) return "";
    return line("room", fmt::format("the job fits: {} of {} stay free on the fullest rank", shown_bytes(*limit - most),
                                    shown_bytes(*limit)));
}

std::string time_text(const PlanReport& report) {
    const auto& timeline = report.timeline;
    const double seconds = 1e-9 * static_cast<double>(timeline.makespan);
    const auto over_work = [&](auto part) {
        std::int64_t idle = 0, work = 0;
        for (const partition::StageTime& time : timeline.stages) {
            idle += part(time);
            work += time.compute;
        }
        return shown_percent(work > 0 ? static_cast<double>(idle) / static_cast<double>(work) : 0);
    };
    const auto rate = [&]() -> std::string {
        if (!report.config) return "";
        if (seconds <= 0) return ": any number of tokens/s";
        const auto tokens = static_cast<double>(tokens_of(*report.config, report.plan));
        return fmt::format(": {} tokens/s", shown_count(tokens / seconds));
    };
    return fmt::format("a step takes {}{}; on top of the work {} bubble, {} exposed communication",
                       shown_seconds(seconds), rate(), over_work([](const auto& time) { return time.bubble; }),
                       over_work([](const auto& time) { return time.exposed; }));
}

/// "stage 3: 12 x F, 12 x B (97.0 % of the step); others: 3 x F, 4 x send": the stage that the path spends most time
/// on, then the rest.
std::string path_text(const PlanReport& report) {
    const auto& timeline = report.timeline;
    struct Share {
        std::int64_t ticks = 0;
        std::map<std::string, int> counts;
    };
    std::map<partition::StageId, Share> stages;
    for (const partition::Place& place : partition::critical_path(timeline)) {
        const partition::ActionSpan& run = timeline.spans[place.stage][place.position];
        if (run.end == run.start) continue;
        const std::string name = partition::name_of(report.plan.training[place.stage].actions[place.position]);
        const bool is_whole = name.find(" mb") == std::string::npos;
        Share& share = stages[place.stage];
        share.ticks += run.end - run.start;
        ++share.counts[is_whole ? name.substr(0, name.find(" chunk")) : name.substr(0, name.find(' '))];
    }
    const auto listed = [](const std::map<std::string, int>& counts) {
        std::vector<std::string> parts;
        for (const auto& [name, count] : counts) parts.push_back(fmt::format("{} x {}", count, name));
        return fmt::format("{}", fmt::join(parts, ", "));
    };
    if (stages.empty()) return "nothing takes time";
    const auto longest = std::max_element(stages.begin(), stages.end(),
                                          [](const auto& a, const auto& b) { return a.second.ticks < b.second.ticks; });
    std::map<std::string, int> others;
    for (const auto& [stage, share] : stages) {
        if (stage == longest->first) continue;
        for (const auto& [name, count] : share.counts) others[name] += count;
    }
    std::string text =
        fmt::format("stage {}: {} ({} of the step)", longest->first, listed(longest->second.counts),
                    shown_percent(static_cast<double>(longest->second.ticks) / static_cast<double>(timeline.makespan)));
    if (!others.empty()) text += fmt::format("; other stages: {}", listed(others));
    return text;
}

std::string rates_text(const partition::Rates& rates) {
    return fmt::format(
        "{}FLOP/s, links {}B/s each way and {} inside a node, {}B/s and {} between nodes, copies to host memory {}B/s "
        "each way, memory {}B/s: a guess, not this machine",
        shown_si(rates.flops_per_second), shown_si(rates.inside_node.bytes_per_second),
        shown_seconds(rates.inside_node.latency_seconds), shown_si(rates.between_nodes.bytes_per_second),
        shown_seconds(rates.between_nodes.latency_seconds), shown_si(rates.copy_bytes_per_second),
        shown_si(rates.memory_bytes_per_second));
}

}  // namespace

std::string to_text(const PlanReport& report) {
    std::string text = line("model", model_text(report)) + line("ranks", ranks_text(report)) +
                       line("groups", groups_text(report)) + line("batch", batch_text(report)) +
                       line("schedule", schedule_text(report.plan));
    text += "\nStages, for one rank and microbatch\n" + chunks_table(report) +
            "parameters: a tied head's are the embedding's, and counted there; FLOPs: additions and multiplications of "
            "forward and backward\n";
    text += "\nA step\n" + step_table(report) + step_legend(report.plan);
    text += "\nPeak memory of a rank\n" + memory_table(report) + '\n';
    text += room_text(report);
    text += line("time", time_text(report)) + line("longest", path_text(report)) +
            line("assumed", rates_text(report.rates)) + line("check", report.proof) +
            line("plan", fmt::format("{:016x}", partition::hash_of(report.plan)));
    for (const std::string& warning : report.warnings) text += "warning: " + warning + '\n';
    for (const std::string& note : report.notes) text += "note: " + note + '\n';
    return text;
}

}  // namespace smp::launch
