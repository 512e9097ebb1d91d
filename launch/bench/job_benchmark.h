// A benchmark job: several configurations of one job, measured in turn inside one world of ranks.
#pragma once

#include <vector>

#include "comms/communicator.h"
#include "launch/bench/bench_arguments.h"
#include "launch/bench/measurement.h"
#include "launch/train/run_ranks.h"

namespace smp::launch {

/// The rows of the result before anything is measured: each variant on each number of ranks. `available`: ranks of the
/// world under mpirun, on all of which each is measured unless --ranks says otherwise; none: local mode, where without
/// --ranks it is the most that the layout of a variant needs. Throws partition::ConfigError for sweeps that are none,
/// unknown keys, and more ranks than there are.
std::vector<Measurement> rows_of(const BenchArguments& arguments, std::optional<int> available);

/// Measures `rows`, as rows_of() makes them, on the first ranks of `world`, and answers on standard output and in
/// --output, from rank 0. Returns the exit code: 0, 2 where nothing could be measured, 7 for --fail-on-slower.
/// Collective; what a configuration cannot do is a row's sentence, anything else is thrown.
int benchmark_job(const BenchArguments& arguments, std::vector<Measurement> rows, bool are_threads,
                  comms::Communicator& world, const TellFailure& tell_failure);

}  // namespace smp::launch
