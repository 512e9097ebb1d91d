#include "launch/bench/job_round.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/plan/node_layout.h"
#include "models/gpt2/gpt2.h"
#include "models/gpt2/gpt2_work.h"
#include "partition/foresight/measured_durations.h"
#include "partition/foresight/simulator.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/execution/gathered_memory.h"
#include "runtime/trainer.h"

namespace smp::launch {

namespace {

/// The job of a round: the model with what trains it, and steps enough for its learning rate. A trainer alone writes no
/// checkpoints.
runtime::Job job_of_round(const Config& config, const MeasuringOptions& options) {
    runtime::Job job = static_cast<const runtime::Job&>(config);
    job.model = models::gpt2(config.gpt2);
    job.training.steps = std::max<std::int64_t>(job.training.steps, options.warm_up + options.steps + options.traced);
    return job;
}

/// Of the rank that took most at once: the most so far into `row`, on every rank. Collective.
void add_memory(const partition::MemoryUse& own, comms::Communicator& ranks, Measurement& row) {
    for (const partition::MemoryUse& rank : runtime::memory_of_ranks(ranks, own)) {
        if (rank.device_peak <= row.memory_bytes) continue;
        row.memory_bytes = rank.device_peak;
        row.memory = rank.peak;
    }
}

}  // namespace

double exposed_share(const partition::Plan& plan, const partition::StepTimes& times) {
    const partition::Timeline timeline = partition::simulate(plan.training, partition::measured_durations(plan, times));
    std::int64_t exposed = 0;
    for (const partition::StageTime& stage : timeline.stages) exposed += stage.exposed;
    const auto all = static_cast<double>(timeline.makespan) * static_cast<double>(timeline.stages.size());
    return all > 0 ? static_cast<double>(exposed) / all : 0;
}

void measure_round(const Config& config, const MeasuringOptions& options, bool are_threads, comms::Communicator& ranks,
                   const TellFailure& tell_failure, Measurement& row) {
    ranks.set_limit(startup_limit(config.cluster));
    set_threads(config, ranks);
    const auto hosts = runtime::host_names(ranks);
    runtime::fail_together(ranks, [&] {
        compare_nodes(config.cluster, hosts);
        if (are_threads) require_few_threads(ranks.size(), config.cluster.threads_per_rank.value_or(1));
        if (are_threads && ranks.rank() == 0) require_room_for_threads(config, ranks.size());
    });
    runtime::TrainerOptions trains;
    trains.on_failure = tell_failure;
    runtime::Trainer trainer(job_of_round(config, options), ranks, std::move(trains));
    ranks.set_limit(limit_of_waits(config.cluster));

    const auto& degrees = trainer.plan().topology.degrees;
    const std::int64_t length = runtime::sequence_length(config.training, config.model.spec->longest_sequence());
    row.layout = fmt::format("pp {}, tp {}, rdp {}", degrees.pp, degrees.tp, degrees.rdp);
    row.configuration = config.canonical_text;
    row.global_batch = runtime::global_batch(config.training, config.parallel, degrees.rdp);
    row.tokens = row.global_batch * length;
    row.flops_per_token = models::model_flops_per_token(config.gpt2, length);

    for (int step = 0; step < options.warm_up; ++step) trainer.step();
    for (int step = 0; step < options.steps; ++step) {
        const runtime::StepRecord record = trainer.step();
        row.seconds.push_back(record.seconds);
        row.predicted_memory_bytes = record.predicted_memory_bytes.value_or(0);
    }
    add_memory(trainer.memory(), ranks, row);
    for (int step = 0; step < options.traced; ++step) {
        partition::StepTimes times;
        trainer.step(times);
        if (ranks.rank() != 0) continue;
        row.bubbles.push_back(partition::measured_bubble(trainer.plan(), times));
        row.exposed.push_back(exposed_share(trainer.plan(), times));
    }
}

}  // namespace smp::launch
