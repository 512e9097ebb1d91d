#include "launch/bench/job_report.h"

#include <algorithm>
#include <functional>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/text_table.h"
#include "partition/foresight/memory_use.h"
#include "runtime/records/median.h"

namespace smp::launch {

namespace {

using Json = nlohmann::ordered_json;
using partition::MemoryCategory;
using partition::shown_bytes;

constexpr std::size_t kStepTable = 0, kMemoryTable = 1;
constexpr double kBusy = 0.5;

double tokens_per_second(const Measurement& row) {
    return static_cast<double>(row.tokens) / runtime::median(row.seconds);
}

bool differ_in_ranks(const std::vector<Measurement>& rows) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const Measurement& row) { return row.ranks != rows.front().ranks; });
}

/// What all rows are made of and told by.
struct Context {
    const JobFacts& facts;
    const std::vector<Measurement>& rows;
    bool several_ranks;
};

/// A column: its place in the report, and how it comes of a row that was measured (`always`: of any row).
struct ColumnFacts {
    ReportColumn column;
    std::function<ReportCell(const Measurement&, const Context&)> cell;
    bool always = false;
};

ReportCell fraction(const std::optional<double>& value) {
    return value ? ReportCell{shown_percent(*value), *value} : ReportCell{};
}

std::optional<double> median_if_any(const std::vector<double>& values) {
    return values.empty() ? std::nullopt : std::optional(runtime::median(values));
}

std::vector<ColumnFacts> step_columns_of_job() {
    using M = Measurement;
    using C = Context;
    const auto seconds = [](const char* key, double Spread::*member) {
        return ColumnFacts{{key, ""}, [member](const M& row, const C&) {
                               return ReportCell{"", spread_of(row.seconds).*member};
                           }};
    };
    return {
        {{"name", "configuration", kStepTable, true},
         [](const M& row, const C& c) {
             return ReportCell{name_of(row, c.several_ranks), row.variant.name};
         },
         true},
        {{"overrides", ""},
         [](const M& row, const C&) {
             return ReportCell{"", row.variant.sets};
         },
         true},
        {{"ranks", ""},
         [](const M& row, const C&) {
             return ReportCell{"", row.ranks};
         },
         true},
        {{"failure", ""},
         [](const M& row, const C&) {
             return row.failure.empty() ? ReportCell{} : ReportCell{"", row.failure};
         },
         true},
        {{"layout", "layout", kStepTable, true},
         [](const M& row, const C&) {
             return ReportCell{row.layout, row.layout};
         }},
        {{"global_batch", ""},
         [](const M& row, const C&) {
             return ReportCell{"", row.global_batch};
         }},
        {{"tokens_per_step", ""},
         [](const M& row, const C&) {
             return ReportCell{"", row.tokens};
         }},
        {{"median_seconds", "step"},
         [](const M& row, const C&) {
             const double median = runtime::median(row.seconds);
             return ReportCell{shown_seconds(median), median};
         }},
        {{"interquartile_seconds", "spread"},
         [](const M& row, const C&) {
             const Spread spread = spread_of(row.seconds);
             return ReportCell{fmt::format("+-{}", shown_percent(spread.half_range() / spread.median)),
                               2 * spread.half_range()};
         }},
        seconds("lower_quartile_seconds", &Spread::lower_quartile),
        seconds("upper_quartile_seconds", &Spread::upper_quartile),
        seconds("least_seconds", &Spread::least),
        seconds("most_seconds", &Spread::most),
        {{"tokens_per_second", "tokens/s"},
         [](const M& row, const C&) {
             const double rate = tokens_per_second(row);
             return ReportCell{fmt::format("{:.0f}", rate), rate};
         }},
        {{"mfu", "MFU"}, [](const M& row, const C& c) { return fraction(utilisation(row, c.facts.peak_flops)); }},
        {{"efficiency", "efficiency"}, [](const M& row, const C& c) { return fraction(efficiency(row, c.rows)); }},
        {{"bubble", "bubble"}, [](const M& row, const C&) { return fraction(median_if_any(row.bubbles)); }},
        {{"exposed_communication", "exposed"},
         [](const M& row, const C&) { return fraction(median_if_any(row.exposed)); }},
    };
}

std::vector<ColumnFacts> memory_columns() {
    using M = Measurement;
    using C = Context;
    const auto bytes = [](std::int64_t value) { return ReportCell{value == 0 ? "" : shown_bytes(value), value}; };
    std::vector<ColumnFacts> columns = {
        {{"memory_bytes", "memory"}, [bytes](const M& row, const C&) { return bytes(row.memory_bytes); }},
        {{"predicted_memory_bytes", "predicted", kMemoryTable},
         [bytes](const M& row, const C&) { return bytes(row.predicted_memory_bytes); }},
    };
    for (std::size_t i = 0; i < partition::kMemoryCategories; ++i) {
        const std::string word = partition::word_of(static_cast<MemoryCategory>(i));
        columns.push_back({{fmt::format("memory_{}_bytes", word), word, kMemoryTable},
                           [bytes, i](const M& row, const C&) { return bytes(row.memory[i]); }});
    }
    columns.push_back({{"step_seconds", ""}, [](const M& row, const C&) { return ReportCell{"", row.seconds}; }});
    return columns;
}

/// "4 ranks as threads of one process on host a", "8 ranks on 2 hosts: a, b".
std::string place_of_ranks(const JobFacts& facts) {
    std::vector<std::string> hosts;
    for (const std::string& host : facts.hosts)
        if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
    return fmt::format("{} as {} on {} {}", counted(static_cast<std::int64_t>(facts.hosts.size()), "rank"),
                       facts.are_threads ? "threads of one process" : "processes", counted(std::ssize(hosts), "host"),
                       fmt::join(hosts, ", "));
}

std::string in_one_line(std::string text) {
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) text.replace(at, 1, "; ");
    return text;
}

Spread seconds_a_token(const Measurement& row) {
    std::vector<double> seconds = row.seconds;
    for (double& value : seconds) value /= static_cast<double>(row.tokens);
    return spread_of(std::move(seconds));
}

/// The fastest row, and those that might be it.
std::string sentence_on_fastest(const Context& context, const Measurement& fastest) {
    std::vector<std::string> alike;
    for (const Measurement& row : context.rows)
        if (&row != &fastest && row.is_measured() &&
            change_of(seconds_a_token(fastest), seconds_a_token(row)) == Change::none)
            alike.push_back(name_of(row, context.several_ranks));
    return fmt::format("most tokens/s: {}{}", name_of(fastest, context.several_ranks),
                       alike.empty() ? "" : fmt::format("; within the spread of it: {}", fmt::join(alike, "; ")));
}

std::vector<std::string> remarks_of(const Context& context, const std::optional<Changes>& changes) {
    const auto& [facts, rows, several_ranks] = context;
    const MeasuringOptions& measuring = facts.measuring;
    std::vector<std::string> remarks;
    const Measurement* fastest = nullptr;
    for (const Measurement& row : rows) {
        if (!row.is_measured())
            remarks.push_back(
                fmt::format("{}: not measured: {}", name_of(row, several_ranks), in_one_line(row.failure)));
        else if (fastest == nullptr || tokens_per_second(row) > tokens_per_second(*fastest))
            fastest = &row;
    }
    if (fastest == nullptr) return remarks;
    if (rows.size() > 1) remarks.push_back(sentence_on_fastest(context, *fastest));
    if (facts.load > kBusy)
        remarks.push_back(fmt::format(
            "this machine was busy before: a load of {:.1f}; what else runs here takes time from all configurations",
            facts.load));
    if (changes) remarks.insert(remarks.end(), changes->sentences.begin(), changes->sentences.end());
    remarks.push_back(fmt::format(
        "step: median of {} steps, {} in each of {} in which the configurations take turns, after {} to warm up; "
        "spread: half of the interquartile range, of the median",
        measuring.rounds * measuring.steps, measuring.steps, counted(measuring.rounds, "round"),
        counted(measuring.warm_up, "step")));
    remarks.push_back(
        facts.peak_flops ? fmt::format("MFU = (6 * parameters + 12 * layers * width * tokens of a sequence) * tokens/s "
                                       "/ (ranks * {}FLOP/s), the peak that --peak-tflops states",
                                       shown_si(*facts.peak_flops))
                         : std::string("MFU: unknown, since no peak of a rank's device is stated (--peak-tflops)"));
    if (several_ranks) {
        const bool strong = std::all_of(rows.begin(), rows.end(), [&](const Measurement& row) {
            return !row.is_measured() || row.global_batch == fastest->global_batch;
        });
        remarks.push_back(fmt::format(
            "efficiency: tokens/s a rank, beside the same configuration on the fewest ranks; {}",
            strong ? "strong scaling: the global batch is the same on any number of ranks (training.global_batch_size "
                     "or one number of replicas)"
                   : "weak scaling: the global batch grows with the replicas (training.batch_size)"));
    }
    if (measuring.traced > 0)
        remarks.push_back(fmt::format(
            "bubble: idle time of all ranks over their computing time; exposed: share of a step in which a stage "
            "stands still for messages and sums of gradients (waits inside a tensor group count as computing); medians "
            "of {} traced apart from the timed ones",
            counted(std::int64_t{measuring.rounds} * measuring.traced, "step")));
    remarks.emplace_back("memory: the most at once of the rank that takes most, and its peak of each category");
    return remarks;
}

}  // namespace

std::optional<double> utilisation(const Measurement& row, const std::optional<double>& peak_flops) {
    if (!peak_flops) return std::nullopt;
    return row.flops_per_token * tokens_per_second(row) / (*peak_flops * row.ranks);
}

std::optional<double> efficiency(const Measurement& row, const std::vector<Measurement>& rows) {
    const Measurement* fewest = nullptr;
    bool several = false;
    for (const Measurement& other : rows) {
        if (!other.is_measured() || other.variant != row.variant) continue;
        several = several || other.ranks != row.ranks;
        if (fewest == nullptr || other.ranks < fewest->ranks) fewest = &other;
    }
    if (!several) return std::nullopt;
    return tokens_per_second(row) / row.ranks / (tokens_per_second(*fewest) / fewest->ranks);
}

Report job_report(const JobFacts& facts, const std::vector<Measurement>& rows, const std::optional<Changes>& changes) {
    const Context context{.facts = facts, .rows = rows, .several_ranks = differ_in_ranks(rows)};
    std::vector<ColumnFacts> columns = step_columns_of_job();
    for (ColumnFacts& column : memory_columns()) columns.push_back(std::move(column));

    Report report;
    report.head = {fmt::format("{}: {}, {}", facts.program, facts.config, place_of_ranks(facts))};
    for (const ColumnFacts& column : columns) report.columns.push_back(column.column);
    Json configurations = Json::array();
    for (const Measurement& row : rows) {
        ReportRow cells;
        for (const ColumnFacts& column : columns)
            cells.cells.push_back(column.always || row.is_measured() ? column.cell(row, context) : ReportCell{});
        report.rows.push_back(std::move(cells));
        Json lines = Json::array();
        std::istringstream text(row.configuration);
        for (std::string line; std::getline(text, line);) lines.push_back(line);
        configurations.push_back(std::move(lines));
    }
    report.facts = {{"program", facts.program},
                    {"config", facts.config},
                    {"ranks_are", facts.are_threads ? "threads" : "processes"},
                    {"hosts", facts.hosts},
                    {"load_before", facts.load},
                    {"rounds", facts.measuring.rounds},
                    {"warm_up", facts.measuring.warm_up},
                    {"steps", facts.measuring.steps},
                    {"traced", facts.measuring.traced},
                    {"peak_flops", facts.peak_flops ? Json(*facts.peak_flops) : Json()},
                    {"configurations", std::move(configurations)}};
    report.remarks = remarks_of(context, changes);
    return report;
}

}  // namespace smp::launch
