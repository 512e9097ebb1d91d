// The command line of smp_bench.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/bench/measurement.h"
#include "launch/bench/report.h"
#include "launch/train/launcher.h"

namespace smp::launch {

enum class BenchCommand { job, links, operators };

struct BenchArguments {
    BenchCommand command = BenchCommand::job;
    std::string config;
    std::vector<std::string> sets;

    /// Of ranks: local mode's; empty: all that a layout needs, under mpirun all that there are.
    std::vector<int> ranks;
    Launcher launcher = Launcher::automatic;

    // job
    std::vector<std::string> sweeps;     // SECTION.KEY=VALUE,VALUE
    std::vector<std::string> overrides;  // files
    MeasuringOptions measuring;
    std::optional<double> peak_flops;  // of a rank's device
    std::string baseline;              // file; empty: none
    bool fails_on_slower = false;

    // links, operators
    std::int64_t bytes = 4 << 20;  // of a large message
    int repeats = 20;

    ReportFormat format = ReportFormat::text;  // of `output`, else of standard output
    std::string output;                        // file; empty: standard output alone

    /// Text to print instead of doing anything: --help, --version.
    std::optional<std::string> answer;
};

/// Throws partition::ConfigError for anything that smp_bench does not know.
BenchArguments parse_bench_arguments(int argc, const char* const* argv);

}  // namespace smp::launch
