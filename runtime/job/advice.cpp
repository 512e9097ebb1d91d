#include "runtime/job/advice.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "partition/foresight/durations.h"
#include "partition/foresight/memory_forecast.h"
#include "partition/foresight/node_borders.h"
#include "partition/foresight/simulator.h"
#include "partition/job/problem.h"
#include "runtime/job/job_plan.h"
#include "runtime/job/job_rules.h"

namespace smp::runtime {

namespace {

using partition::Plan;
using partition::shown_bytes;

constexpr double kHighBubble = 0.15, kWorthwhile = 0.02;
constexpr double kFits = 0.95;   // of the limit: what is left may be wanted elsewhere
constexpr double kUnused = 0.6;  // of the limit: less is much unused
constexpr double kShortSeconds = 1e-3;
constexpr std::size_t kMostActions = 200'000;

std::size_t actions_of(const Plan& plan) {
    std::size_t count = 0;
    for (const auto& program : plan.training) count += program.actions.size();
    return count;
}

/// A plan as forecasts see it.
struct Outlook {
    double bubble = 0;
    double seconds = 0;
    std::int64_t peak = 0;  // of the largest rank, evaluations included
};

std::int64_t peak_of(const Plan& plan, const partition::ModuleGraph& graph) {
    std::int64_t peak = 0;
    for (const partition::StageId stage : plan.training.ids()) {
        peak = std::max(peak, partition::memory_forecast(plan, graph, stage).device_peak);
        if (plan.evaluates) peak = std::max(peak, partition::evaluation_forecast(plan, graph, stage).device_peak);
    }
    return peak;
}

class Adviser {
  public:
    Adviser(const Job& job, const Plan& plan, const partition::ModuleGraph& graph, const Observed& observed)
        : job_(job),
          plan_(plan),
          observed_(observed),
          world_(plan.topology.degrees.world()),
          limit_(partition::memory_limit(job.cluster)),
          rates_(rates_of_step(plan, graph, observed.step_seconds)),
          now_(outlook(plan, graph, ranks_per_node())),
          now_on_one_node_(outlook(plan, graph, 0)) {}

    std::vector<std::string> sentences() {
        advise_of_idle_stages();
        advise_of_switches();
        advise_of_hosts();
        if (!has_high_bubble()) advise_of_unused_memory();
        advise_of_small_microbatches();
        if (sentences_.size() > kMostAdvice) sentences_.resize(kMostAdvice);
        return std::move(sentences_);
    }

  private:
    using Change = std::function<void(Job&)>;

    /// As fast as the step says, if it were computation alone. Nothing is known of the optimizer: it takes no time.
    static partition::Rates rates_of_step(const Plan& plan, const partition::ModuleGraph& graph, double seconds) {
        partition::Rates rates;
        rates.memory_bytes_per_second = 1e18;
        if (seconds <= 0) return rates;
        rates.flops_per_second = 1e12;
        const auto durations = partition::modelled_durations(plan, plan.training, graph, rates);
        const auto makespan = static_cast<double>(partition::simulate(plan.training, durations).makespan);
        rates.flops_per_second *= std::max(1e-9, 1e-9 * makespan / seconds);
        return rates;
    }

    /// Nodes with equally many consecutive ranks; 0: one.
    int ranks_per_node() const {
        if (observed_.nodes.empty()) return 0;
        const int nodes = 1 + *std::ranges::max_element(observed_.nodes);
        return nodes > 1 && world_ % nodes == 0 ? world_ / nodes : 0;
    }

    Outlook outlook(const Plan& plan, const partition::ModuleGraph& graph, int ranks_per_node) const {
        const auto durations = partition::modelled_durations(plan, plan.training, graph, rates_, ranks_per_node);
        const partition::Timeline timeline = partition::simulate(plan.training, durations);
        return {.bubble = timeline.bubble(),
                .seconds = 1e-9 * static_cast<double>(timeline.makespan),
                .peak = peak_of(plan, graph)};
    }

    /// Of the job with a change; none where there is no such job.
    std::optional<Outlook> with(const Change& change) const {
        Job job = job_;
        change(job);
        if (!partition::validate(job.parallel).empty() || !validate_job(job).empty() ||
            !validate_job_on(job, world_).empty())
            return std::nullopt;
        try {
            const Plan plan = plan_of(job, world_, plan_.transport);
            if (actions_of(plan) > kMostActions) return std::nullopt;
            return outlook(plan, graph_of(job, world_, plan_.transport), ranks_per_node());
        } catch (const partition::ConfigError&) {
            return std::nullopt;
        }
    }

    double bubble_seen() const { return observed_.bubble.value_or(now_.bubble); }
    bool has_high_bubble() const { return plan_.topology.degrees.pp > 1 && bubble_seen() > kHighBubble; }
    bool fits(std::int64_t bytes, double part = kFits) const {
        return !limit_ || static_cast<double>(bytes) <= part * static_cast<double>(*limit_);
    }

    void advise_of_idle_stages() {
        if (!has_high_bubble()) return;
        const std::string seen = fmt::format("stages stood idle for {:.0f} % on top of their work{}",
                                             1e2 * bubble_seen(), observed_.bubble ? "" : ", by the plan");
        const auto say = [&](const char* key, int value, int before, const Outlook& then) {
            sentences_.push_back(
                fmt::format("{}: {} = {} instead of {} takes the plan's bubble from {:.0f} % to {:.0f} %, and the "
                            "largest rank from {} "
                            "to {}",
                            seen, key, value, before, 1e2 * now_.bubble, 1e2 * then.bubble, shown_bytes(now_.peak),
                            shown_bytes(then.peak)));
        };
        const int microbatches = plan_.microbatches, active = plan_.active_microbatches;
        for (int more = 2 * active; active < microbatches; more *= 2) {
            const int value = std::min(more, microbatches);
            const auto then = with([&](Job& job) { job.parallel.active_microbatches = value; });
            if (then && then->bubble < now_.bubble - kWorthwhile && fits(then->peak))
                return say("parallel.active_microbatches", value, active, *then);
            if (value == microbatches) break;
        }
        const auto then = with([&](Job& job) { job.parallel.microbatches = 2 * microbatches; });
        if (then && then->bubble < now_.bubble - kWorthwhile && then->seconds < now_.seconds && fits(then->peak))
            say("parallel.microbatches", 2 * microbatches, microbatches, *then);
    }

    /// What memory is saved at the cost of time.
    void advise_of_switches() {
        struct Switch {
            bool is_on;
            std::string words;
            Change off;
        };
        const partition::ParallelOptions& parallel = job_.parallel;
        const std::vector<Switch> switches = {
            {parallel.offload_activations, "parallel.offload_activations",
             [](Job& job) { job.parallel.offload_activations = false; }},
            {parallel.activation_checkpointing != "none",
             fmt::format("parallel.activation_checkpointing = \"{}\"", parallel.activation_checkpointing),
             [](Job& job) {
                 job.parallel.activation_checkpointing = "none";
                 job.parallel.offload_activations = false;
             }},
            {parallel.optimize == partition::Optimize::memory, "parallel.optimize = \"memory\"",
             [](Job& job) {
                 job.parallel.memory_weight = partition::memory_weight(job.parallel);  // the same stages
                 job.parallel.optimize = partition::Optimize::speed;
             }},
            {parallel.shard_optimizer_state, "parallel.shard_optimizer_state",
             [](Job& job) { job.parallel.shard_optimizer_state = false; }},
        };
        std::optional<std::string> fits_without;
        for (const Switch& each : switches) {
            if (!each.is_on) continue;
            const auto without = with(each.off);
            if (!without) continue;
            if (without->peak <= now_.peak) {
                sentences_.push_back(
                    fmt::format("{} saves nothing here: the largest rank takes {} with it and {} without; leave it out",
                                each.words, shown_bytes(now_.peak), shown_bytes(without->peak)));
            } else if (limit_ && fits(without->peak)) {
                const double less = 1 - without->seconds / now_.seconds;
                fits_without = fmt::format(
                    "this job fits without {}: its largest rank would take {} of {}{}", each.words,
                    shown_bytes(without->peak), shown_bytes(*limit_),
                    less > 0.01 ? fmt::format(", and a step about {:.0f} % less time", 1e2 * less) : std::string());
            }
        }
        if (fits_without)
            sentences_.push_back(*std::move(fits_without));  // of those that are on, that which saves most
    }

    void advise_of_hosts() {
        if (observed_.nodes.empty() || plan_.topology.degrees.tp == 1) return;
        const partition::NodeBorders borders(plan_.topology, observed_.nodes);
        if (!borders.cut(partition::Axis::tensor) || now_.seconds < 1.05 * now_on_one_node_.seconds) return;
        sentences_.push_back(fmt::format(
            "tensor parallelism runs over hosts: by the plan's links a step takes {:.1f} times what it would with the "
            "shards of each layer on one host (the warning at the start says how)",
            now_.seconds / now_on_one_node_.seconds));
    }

    void advise_of_unused_memory() {
        if (!limit_ || !fits(observed_.device_peak, kUnused)) return;
        const int microbatches = plan_.microbatches;
        const std::string unused =
            fmt::format("the largest rank took {} of {}", shown_bytes(observed_.device_peak), shown_bytes(*limit_));
        if (microbatches % 2 == 0) {
            const auto then = with([&](Job& job) {
                job.parallel.microbatches = microbatches / 2;
                job.parallel.active_microbatches = std::min(plan_.active_microbatches, microbatches / 2);
            });
            if (then && fits(then->peak) && then->bubble < now_.bubble + kWorthwhile) {
                sentences_.push_back(
                    fmt::format("{}: parallel.microbatches = {} instead of {} makes them twice as large, and operators "
                                "faster, for {}",
                                unused, microbatches / 2, microbatches, shown_bytes(then->peak)));
                return;
            }
        }
        const auto then = with([](Job& job) {
            auto& size = job.training.batch_size ? job.training.batch_size : job.training.global_batch_size;
            if (size) *size *= 2;
        });
        if (then && fits(then->peak))
            sentences_.push_back(
                fmt::format("{}: a batch twice as large fits, too, and takes {}", unused, shown_bytes(then->peak)));
    }

    void advise_of_small_microbatches() {
        const int microbatches = plan_.microbatches, stages = plan_.topology.degrees.pp;
        const double seconds = observed_.step_seconds / microbatches;
        if (observed_.step_seconds <= 0 || seconds >= kShortSeconds || microbatches % 2 != 0 ||
            microbatches / 2 < stages)
            return;
        const auto then = with([&](Job& job) {
            job.parallel.microbatches = microbatches / 2;
            job.parallel.active_microbatches = std::min(plan_.active_microbatches, microbatches / 2);
        });
        if (then && fits(then->peak))
            sentences_.push_back(fmt::format(
                "a microbatch takes a stage {:.0f} us, of which starting its operators and messages is a good part: "
                "parallel.microbatches = {} instead of {} makes them twice as large",
                1e6 * seconds, microbatches / 2, microbatches));
    }

    const Job& job_;
    const Plan& plan_;
    const Observed& observed_;
    const int world_;
    const std::optional<std::int64_t> limit_;
    const partition::Rates rates_;
    const Outlook now_, now_on_one_node_;
    std::vector<std::string> sentences_;
};

}  // namespace

std::vector<std::string> advice_after(const Job& job, const Plan& plan, const partition::ModuleGraph& graph,
                                      const Observed& observed) {
    if (actions_of(plan) > kMostActions) return {};
    return Adviser(job, plan, graph, observed).sentences();
}

}  // namespace smp::runtime
