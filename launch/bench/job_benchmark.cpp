#include "launch/bench/job_benchmark.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <unistd.h>

#include <fmt/format.h>

#include "launch/bench/answer.h"
#include "launch/bench/comparison.h"
#include "launch/bench/job_report.h"
#include "launch/bench/job_round.h"
#include "launch/build_facts.h"
#include "launch/command/config_arguments.h"
#include "launch/command/standard_streams.h"
#include "launch/config/config.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"

namespace smp::launch {

namespace {

std::vector<std::string> all_sets(const BenchArguments& arguments, const Variant& variant) {
    std::vector<std::string> sets = arguments.sets;
    sets.insert(sets.end(), variant.sets.begin(), variant.sets.end());
    return sets;
}

/// What one variant states to need, by itself; 1 where it cannot be loaded, which its row will say.
int ranks_stated(const BenchArguments& arguments, const Variant& variant) {
    try {
        return load_config(arguments.config, all_sets(arguments, variant)).world();
    } catch (const partition::ConfigError&) {
        return 1;
    }
}

/// The first `count` ranks as a world of their own; null on all others.
std::unique_ptr<comms::Communicator> first_ranks(comms::Communicator& world, int count) {
    auto part = world.split(world.rank() < count ? 0 : 1, world.rank(), "measured");
    return world.rank() < count ? std::move(part) : nullptr;
}

/// Those that have nothing to do wait as long as the others may take.
comms::WaitLimit limit_of_turn(const BenchArguments& arguments, const partition::ClusterOptions& cluster) {
    comms::WaitLimit limit = limit_of_waits(cluster);
    const MeasuringOptions& measuring = arguments.measuring;
    limit.time *= measuring.warm_up + measuring.steps + measuring.traced + 1;
    return limit;
}

/// A configuration's turn in a round. The same sentence on every rank where it cannot be measured. Collective over
/// `world`.
void take_turn(const BenchArguments& arguments, bool are_threads, comms::Communicator& world,
               const TellFailure& tell_failure, Measurement& row) {
    std::optional<Config> config;
    try {
        runtime::fail_together(
            world, [&] { config.emplace(load_config(arguments.config, all_sets(arguments, row.variant), row.ranks)); });
    } catch (const runtime::AgreedFailure& failure) {
        row.failure = failure.message();
        return;
    }
    std::unique_ptr<comms::Communicator> part;
    if (row.ranks < world.size()) part = first_ranks(world, row.ranks);
    std::string failure;
    if (row.ranks == world.size() || part) {
        try {
            measure_round(*config, arguments.measuring, are_threads, part ? *part : world, tell_failure, row);
        } catch (const runtime::AgreedFailure& agreed) {
            failure = agreed.message();
        }
    }
    world.set_limit(limit_of_turn(arguments, config->cluster));
    row.failure = runtime::text_of_first(world, failure);
}

void tell_progress(const std::string& line, comms::Communicator& world) {
    if (world.rank() == 0 && ::isatty(STDERR_FILENO) == 1) fmt::print(stderr, "{}\n", line);
}

}  // namespace

std::vector<Measurement> rows_of(const BenchArguments& arguments, std::optional<int> available) {
    const auto variants = variants_of(arguments.sweeps, arguments.overrides);
    require_known_keys(arguments.config, arguments.sets, variants);
    std::vector<int> counts = arguments.ranks;
    if (available && !counts.empty() && counts.back() > *available)
        refuse_argument("--ranks", fmt::format("has {}, but mpirun has started {}", counts.back(), *available));
    if (counts.empty()) {
        int most = available.value_or(1);
        if (!available)
            for (const Variant& variant : variants) most = std::max(most, ranks_stated(arguments, variant));
        counts = {most};
    }
    std::vector<Measurement> rows;
    for (const Variant& variant : variants)
        for (const int ranks : counts) rows.push_back({.variant = variant, .ranks = ranks});
    return rows;
}

int benchmark_job(const BenchArguments& arguments, std::vector<Measurement> rows, bool are_threads,
                  comms::Communicator& world, const TellFailure& tell_failure) {
    std::optional<Baseline> baseline;
    runtime::fail_together(world, [&] {
        if (world.rank() == 0 && !arguments.baseline.empty()) baseline = read_baseline(arguments.baseline);
    });
    const auto hosts = runtime::host_names(world);
    double load = 0;
    if (::getloadavg(&load, 1) != 1) load = 0;
    for (int round = 0; round < arguments.measuring.rounds; ++round) {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (!rows[i].failure.empty()) continue;
            tell_progress(fmt::format("round {} of {}, {} of {}: {}", round + 1, arguments.measuring.rounds, i + 1,
                                      rows.size(), name_of(rows[i], /*with_ranks=*/true)),
                          world);
            take_turn(arguments, are_threads, world, tell_failure, rows[i]);
        }
    }
    const bool any = std::any_of(rows.begin(), rows.end(), [](const Measurement& row) { return row.failure.empty(); });
    std::optional<Changes> changes;
    if (baseline) changes = changes_since(*baseline, rows);
    const bool fails = arguments.fails_on_slower && changes && changes->slower > 0;
    const std::string code = runtime::text_of_first(world, !any ? "2" : fails ? "7" : "0");
    if (world.rank() == 0) {
        const JobFacts facts{.program = fmt::format("smp_bench {}", kVersion),
                             .config = arguments.config,
                             .measuring = arguments.measuring,
                             .peak_flops = arguments.peak_flops,
                             .are_threads = are_threads,
                             .hosts = hosts,
                             .load = load};
        give_answer(job_report(facts, rows, changes), arguments.format, arguments.output);
        if (!any) print_failure("smp_bench", "no configuration could be measured; the result says why");
    }
    return code[0] - '0';
}

}  // namespace smp::launch
