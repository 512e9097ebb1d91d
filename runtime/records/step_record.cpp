#include "runtime/records/step_record.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace smp::runtime {

namespace {

constexpr std::array<StepColumn, 14> kColumns = {{
    {"step", &StepRecord::step},
    {"loss", &StepRecord::loss},
    {"learning_rate", &StepRecord::learning_rate},
    {"grad_norm", &StepRecord::grad_norm},
    {"tokens", &StepRecord::tokens},
    {"skipped_updates", &StepRecord::skipped_updates},
    {"loss_scale", &StepRecord::loss_scale, /*only_where_known=*/true},
    {"seconds", &StepRecord::seconds},
    {"tokens_per_second", &StepRecord::tokens_per_second},
    {"mfu", &StepRecord::mfu},
    {"memory_bytes", &StepRecord::memory_bytes},
    {"predicted_seconds", &StepRecord::predicted_seconds},
    {"predicted_memory_bytes", &StepRecord::predicted_memory_bytes},
    {"validation_loss", &StepRecord::validation_loss, /*only_where_known=*/true},
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

}  // namespace smp::runtime
