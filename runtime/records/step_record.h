// What a training step was and did: one line of metrics.jsonl.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace smp::runtime {

struct StepRecord {
    std::int64_t step = 0;             // from 1
    double loss = 0;                   // mean over the tokens of the global batch, before the update
    double learning_rate = 0;          // of the step's update, or what it would have been
    double grad_norm = 0;              // before clipping
    std::int64_t tokens = 0;           // trained on so far, this step's included
    std::int64_t skipped_updates = 0;  // so far: their gradients overflowed (fp16)
    std::optional<double> loss_scale;  // of the step, with fp16
    double seconds = 0;                // of the step, rank 0's clock
    double tokens_per_second = 0;
    std::optional<double> mfu;      // model FLOPs utilisation: model_flops_per_token · tokens/s / (peak of all ranks);
                                    // unknown where the device's peak is
    std::int64_t memory_bytes = 0;  // of the largest rank
    std::optional<double> predicted_seconds;
    std::optional<std::int64_t> predicted_memory_bytes;
    std::optional<double> validation_loss;
    std::string notice;  // a sentence for the log, no column; empty: none
};

/// A number of the record under its name, for whatever writes records down.
struct StepColumn {
    std::string_view name;
    std::variant<double StepRecord::*, std::int64_t StepRecord::*, std::optional<double> StepRecord::*,
                 std::optional<std::int64_t> StepRecord::*>
        member;
    bool only_where_known = false;  // left out where it is unknown; the others are null there
};

/// All of them, in the order of the line.
std::span<const StepColumn> step_columns();

/// The record as one line of JSON: step_columns() in order. Numbers are in shortest round-trip form, so equal text is
/// equal bits; a number that is not finite, and an unknown one, is null; loss_scale is there only with fp16,
/// validation_loss only after an evaluation.
std::string to_json_line(const StepRecord& record);

}  // namespace smp::runtime
