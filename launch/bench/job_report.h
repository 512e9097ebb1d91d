// The result of a benchmark job: a row a configuration, with what its columns mean.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/bench/comparison.h"
#include "launch/bench/measurement.h"
#include "launch/bench/report.h"

namespace smp::launch {

struct JobFacts {
    std::string program;  // "smp_bench 0.1.0"
    std::string config;   // the file
    MeasuringOptions measuring;
    std::optional<double> peak_flops;  // of one rank's device, FLOP/s
    bool are_threads = true;           // ranks are; else processes
    std::vector<std::string> hosts;    // of each rank
    double load = 0;                   // of rank 0's machine in the minute before: processes that wanted to run
};

/// Model FLOPs utilisation: model FLOPs a token · tokens/s / (ranks · peak). None without a peak.
std::optional<double> utilisation(const Measurement& row, const std::optional<double>& peak_flops);

/// Tokens/s a rank over those of the same configuration on the fewest ranks that were measured; none where these are
/// all that were.
std::optional<double> efficiency(const Measurement& row, const std::vector<Measurement>& rows);

/// `rows` may have any that could not be measured: each is a row with its sentence. `baseline`: an earlier result to
/// compare with.
Report job_report(const JobFacts& facts, const std::vector<Measurement>& rows,
                  const std::optional<Changes>& changes = {});

}  // namespace smp::launch
