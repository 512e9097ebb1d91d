// What a training step was and did: one line of metrics.jsonl.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace smp::runtime {

/// What a step was on one rank, by its own clock; what it does not know is NaN. Durations in seconds.
struct RankStep {
    static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    double seconds = 0;          // of the step
    double wait_seconds = 0;     // of them: blocked, for other ranks or copies
    double exposed_seconds = 0;  // of the waits: for communication inside a stage and for copies, not for messages of
                                 // other stages, nor for ranks that had not come to the update
    double idle_seconds = 0;     // between the actions of the plan, and in the update until all had come to it
    double busy_seconds = 0;  // the rest of what the plan's actions took: as in a traced step, with waits inside them
    double data_seconds = 0;  // reading its batch
    double tensor_bytes = 0;  // most that its tensors took
    double resident_bytes = kUnknown;       // of its process; the first rank of a process knows it, and likewise
    double cpu_utilization = kUnknown;      // of the process: its time over that of all cores that it may use
    double node_memory_bytes = kUnknown;    // in use on its host; the first rank of a host knows it, and what follows
    double device_memory_bytes = kUnknown;  // of the host's devices, the largest: in use, by whatever program
    double device_utilization = kUnknown;   // likewise; from 0 to 1
    double device_power_watts = kUnknown;
    double device_temperature_celsius = kUnknown;

    /// Its own work: what is not waiting.
    double work_seconds() const { return seconds - wait_seconds; }
};

/// All of them, for whatever sends or compares them.
inline constexpr std::array<double RankStep::*, 14> kRankStepNumbers = {&RankStep::seconds,
                                                                        &RankStep::wait_seconds,
                                                                        &RankStep::exposed_seconds,
                                                                        &RankStep::idle_seconds,
                                                                        &RankStep::busy_seconds,
                                                                        &RankStep::data_seconds,
                                                                        &RankStep::tensor_bytes,
                                                                        &RankStep::resident_bytes,
                                                                        &RankStep::cpu_utilization,
                                                                        &RankStep::node_memory_bytes,
                                                                        &RankStep::device_memory_bytes,
                                                                        &RankStep::device_utilization,
                                                                        &RankStep::device_power_watts,
                                                                        &RankStep::device_temperature_celsius};

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
    // The largest over all ranks (see RankStep), unless said otherwise; NaN: not known, as waits where ranks share a
    // CUDA device.
    double wait_seconds = 0;
    double exposed_communication_seconds = 0;
    double data_seconds = 0;
    double bubble = 0;  // Σ idle_seconds / Σ busy_seconds over all ranks: idle over ideal time, as smp_plan's
    std::int64_t slowest_rank = 0;               // with the longest work_seconds()
    double slowest_rank_seconds = 0;             // its work_seconds()
    std::optional<std::int64_t> straggler_rank;  // one that has been slower than its like for some steps
    std::optional<std::int64_t> resident_bytes;
    std::optional<std::int64_t> node_memory_bytes;
    std::optional<double> cpu_utilization;
    std::optional<std::int64_t> device_memory_bytes;
    std::optional<double> device_utilization;
    std::optional<double> device_power_watts;
    std::optional<double> device_temperature_celsius;
    std::vector<RankStep> ranks;  // by rank, no column
    std::string notice;           // a sentence for the log, no column; empty: none
};

/// A line more of what the log is to say.
void add_notice(StepRecord& record, std::string_view sentence);

/// A number of the record under its name, for whatever writes records down.
struct StepColumn {
    std::string_view name;
    std::string_view meaning;  // for a person, with the unit
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

/// The value of a column; none where it is unknown or not finite.
std::optional<double> value_of(const StepColumn& column, const StepRecord& record);

/// Whether every rank knows what it waited for: without that nothing is said of waits, nor of a rank's own work.
bool knows_waits(const StepRecord& record);
/// Fills in what the members of `record` say of all ranks out of record.ranks, but straggler_rank.
void sum_up_ranks(StepRecord& record);

/// What of a record is the same in every run of a job: without times, and without what machines were doing.
StepRecord without_measurements(const StepRecord& record);

}  // namespace smp::runtime
