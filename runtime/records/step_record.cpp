#include "runtime/records/step_record.h"

#include <cmath>

#include <fmt/format.h>

namespace smp::runtime {

namespace {

std::string number(std::optional<double> value) {
    return value && std::isfinite(*value) ? fmt::format("{}", *value) : "null";
}

}  // namespace

std::string to_json_line(const StepRecord& record) {
    std::string line = fmt::format(
        R"({{"step":{},"loss":{},"learning_rate":{},"grad_norm":{},"tokens":{},"skipped_updates":{},"seconds":{},"tokens_per_second":{},"mfu":{},)"
        R"("memory_bytes":{},"predicted_seconds":{},"predicted_memory_bytes":{})",
        record.step, number(record.loss), number(record.learning_rate), number(record.grad_norm), record.tokens,
        record.skipped_updates, number(record.seconds), number(record.tokens_per_second), number(record.mfu),
        record.memory_bytes, number(record.predicted_seconds),
        record.predicted_memory_bytes ? fmt::format("{}", *record.predicted_memory_bytes) : "null");
    if (record.validation_loss) line += fmt::format(R"(,"validation_loss":{})", number(record.validation_loss));
    return line + "}";
}

}  // namespace smp::runtime
