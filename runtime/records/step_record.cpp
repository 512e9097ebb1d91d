#include "runtime/records/step_record.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace smp::runtime {

namespace {

constexpr std::array<StepColumn, 28> kColumns = {{
    {"step", "Training steps done", &StepRecord::step},
    {"loss", "Mean loss over the global batch, before the update", &StepRecord::loss},
    {"learning_rate", "Learning rate of the update", &StepRecord::learning_rate},
    {"grad_norm", "Norm of all gradients, before clipping", &StepRecord::grad_norm},
    {"tokens", "Tokens trained on so far", &StepRecord::tokens},
    {"skipped_updates", "Updates skipped so far since gradients overflowed", &StepRecord::skipped_updates},
    {"loss_scale", "Factor on the loss, with fp16", &StepRecord::loss_scale, /*only_where_known=*/true},
    {"seconds", "Duration of the step", &StepRecord::seconds},
    {"tokens_per_second", "Tokens trained on in a second", &StepRecord::tokens_per_second},
    {"mfu", "Model FLOPs utilisation, from 0 to 1", &StepRecord::mfu},
    {"memory_bytes", "Most that a rank's tensors took", &StepRecord::memory_bytes},
    {"predicted_seconds", "Duration of a step by the plan", &StepRecord::predicted_seconds},
    {"predicted_memory_bytes", "Most that a rank's tensors take by the plan", &StepRecord::predicted_memory_bytes},
    {"validation_loss", "Mean loss over the validation data", &StepRecord::validation_loss, /*only_where_known=*/true},
    {"wait_seconds", "Longest that a rank was blocked in the step", &StepRecord::wait_seconds},
    {"exposed_communication_seconds", "Of these: longest for communication inside a stage and for copies",
     &StepRecord::exposed_communication_seconds},
    {"data_seconds", "Longest that a rank read its batch", &StepRecord::data_seconds},
    {"bubble", "Idle over busy time of all ranks", &StepRecord::bubble},
    {"slowest_rank", "Rank whose own work took longest", &StepRecord::slowest_rank},
    {"slowest_rank_seconds", "Its step without waits", &StepRecord::slowest_rank_seconds},
    {"straggler_rank", "Rank that has been slower than its like for some steps", &StepRecord::straggler_rank},
    {"resident_bytes", "Resident memory of the largest process", &StepRecord::resident_bytes},
    {"node_memory_bytes", "Memory in use on the fullest host", &StepRecord::node_memory_bytes},
    {"cpu_utilization", "Of the cores that a process may use, from 0 to 1: the busiest", &StepRecord::cpu_utilization},
    {"device_memory_bytes", "Memory in use on the fullest device", &StepRecord::device_memory_bytes},
    {"device_utilization", "Of the busiest device, from 0 to 1", &StepRecord::device_utilization},
    {"device_power_watts", "Power that a device draws, the largest", &StepRecord::device_power_watts},
    {"device_temperature_celsius", "Temperature of the hottest device", &StepRecord::device_temperature_celsius},
}};

std::string number(std::int64_t value) { return fmt::format("{}", value); }
std::string number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }
template <typename Value>
std::string number(const std::optional<Value>& value) {
    return value ? number(*value) : "null";
}

bool is_known(std::int64_t /*value*/) { return true; }
bool is_known(double /*value*/) { return true; }
template <typename Value>
bool is_known(const std::optional<Value>& value) {
    return value.has_value();
}

/// The largest that is known; none: no rank knows it.
std::optional<double> largest(const StepRecord& record, double RankStep::*number) {
    std::optional<double> most;
    for (const RankStep& rank : record.ranks)
        if (!std::isnan(rank.*number)) most = std::max(most.value_or(rank.*number), rank.*number);
    return most;
}

std::optional<std::int64_t> whole(std::optional<double> value) {
    if (!value) return std::nullopt;
    return static_cast<std::int64_t>(*value);
}

double sum(const StepRecord& record, double RankStep::*number) {
    double all = 0;
    for (const RankStep& rank : record.ranks) all += rank.*number;
    return all;
}

}  // namespace

std::span<const StepColumn> step_columns() { return kColumns; }

std::string to_json_line(const StepRecord& record) {
    std::string line;
    for (const StepColumn& column : kColumns) {
        std::visit(
            [&](auto member) {
                if (column.only_where_known && !is_known(record.*member)) return;
                line += fmt::format("{}\"{}\":{}", line.empty() ? "{" : ",", column.name, number(record.*member));
            },
            column.member);
    }
    return line + "}";
}

std::optional<double> value_of(const StepColumn& column, const StepRecord& record) {
    return std::visit(
        [&](auto member) -> std::optional<double> {
            const std::optional value = record.*member;
            if (!value || !std::isfinite(static_cast<double>(*value))) return std::nullopt;
            return static_cast<double>(*value);
        },
        column.member);
}

void add_notice(StepRecord& record, std::string_view sentence) {
    if (!record.notice.empty()) record.notice += '\n';
    record.notice += sentence;
}

bool knows_waits(const StepRecord& record) {
    return std::ranges::none_of(record.ranks, [](const RankStep& rank) { return std::isnan(rank.wait_seconds); });
}

void sum_up_ranks(StepRecord& record) {
    record.memory_bytes = whole(largest(record, &RankStep::tensor_bytes)).value_or(0);
    const bool knows = knows_waits(record);
    const auto of_waits = [&](double RankStep::*number) {
        return knows ? largest(record, number).value_or(RankStep::kUnknown) : RankStep::kUnknown;
    };
    record.wait_seconds = of_waits(&RankStep::wait_seconds);
    record.exposed_communication_seconds = of_waits(&RankStep::exposed_seconds);
    record.data_seconds = largest(record, &RankStep::data_seconds).value_or(0);
    const double busy = sum(record, &RankStep::busy_seconds);
    record.bubble = busy == 0 ? 0 : sum(record, &RankStep::idle_seconds) / busy;
    const auto slowest = std::ranges::max_element(record.ranks, {}, &RankStep::work_seconds);
    record.slowest_rank = knows ? slowest - record.ranks.begin() : 0;
    record.slowest_rank_seconds = RankStep::kUnknown;
    if (knows) record.slowest_rank_seconds = slowest == record.ranks.end() ? 0 : slowest->work_seconds();
    record.resident_bytes = whole(largest(record, &RankStep::resident_bytes));
    record.node_memory_bytes = whole(largest(record, &RankStep::node_memory_bytes));
    record.cpu_utilization = largest(record, &RankStep::cpu_utilization);
    record.device_memory_bytes = whole(largest(record, &RankStep::device_memory_bytes));
    record.device_utilization = largest(record, &RankStep::device_utilization);
    record.device_power_watts = largest(record, &RankStep::device_power_watts);
    record.device_temperature_celsius = largest(record, &RankStep::device_temperature_celsius);
}

StepRecord without_measurements(const StepRecord& record) {
    StepRecord same;
    same.step = record.step;
    same.loss = record.loss;
    same.learning_rate = record.learning_rate;
    same.grad_norm = record.grad_norm;
    same.tokens = record.tokens;
    same.skipped_updates = record.skipped_updates;
    same.loss_scale = record.loss_scale;
    same.validation_loss = record.validation_loss;
    return same;
}

}  // namespace smp::runtime
