#include "partition/schedule/list_scheduling.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace smp::partition {
namespace {

constexpr ChunkId kFirst(0);
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

class Pipeline {
  public:
    explicit Pipeline(const SchedulingRules& rules)
        : rules_(rules),
          placement_(rules.placement),
          stages_(static_cast<std::size_t>(placement_.stages())),
          forward_ends_(static_cast<std::size_t>(placement_.chunks() * rules.microbatches), kNever),
          backward_ends_(forward_ends_) {
        result_.orders.resize(stages_.size());
    }

    ListSchedule run() {
        for (const StageId stage : stages_.ids()) wake(0, stage);
        while (!wake_ups_.empty()) {
            const auto [now, stage] = wake_ups_.top();
            wake_ups_.pop();
            if (at(stage).busy_until <= now) take_a_step(stage, now);
        }
        for (const StageId stage : stages_.ids()) require_finished(stage);
        return std::move(result_);
    }

  private:
    /// How far a stage has come in its lists.
    struct Stage {
        std::size_t forwards = 0, backwards = 0, weights = 0;
        int started = 0, finished = 0;  // microbatches, on stage 0
        std::int64_t bytes = 0;         // of stashes, and of what is deferred
        std::int64_t busy_until = 0;
    };

    ChunkId last_chunk() const { return placement_.last_chunk(); }
    Stage& at(StageId stage) { return stages_[stage]; }
    ChunkId chunk_of(StageId stage, const Visit& visit) const {
        return placement_.chunks_of(stage)[static_cast<std::size_t>(visit.own_chunk)];
    }
    const ComputationCosts& costs(ChunkId chunk) const { return rules_.costs[chunk]; }
    std::size_t index(ChunkId chunk, MicrobatchId microbatch) const {
        return chunk.index() * static_cast<std::size_t>(rules_.microbatches) + microbatch.index();
    }

    bool backward_is_ready(StageId stage, std::int64_t now) {
        if (at(stage).backwards == rules_.backwards.size()) return false;
        const Visit& visit = rules_.backwards[at(stage).backwards];
        const ChunkId chunk = chunk_of(stage, visit);
        return chunk == last_chunk() ? forward_ends_[index(chunk, visit.microbatch)] <= now
                                     : backward_ends_[index(chunk + 1, visit.microbatch)] <= now;
    }

    bool forward_is_ready(StageId stage, std::int64_t now) {
        const Stage& s = at(stage);
        if (s.forwards == rules_.forwards.size()) return false;
        const Visit& visit = rules_.forwards[s.forwards];
        const ChunkId chunk = chunk_of(stage, visit);
        if (chunk > kFirst && forward_ends_[index(chunk - 1, visit.microbatch)] > now) return false;
        if (chunk == kFirst && s.started - s.finished == rules_.active_limit) return false;
        return static_cast<int>(s.forwards - s.backwards) < rules_.held_limit[stage];
    }

    /// Whether weight parts wait that would have to go first.
    bool is_too_much(StageId stage, std::int64_t bytes) {
        const Stage& s = at(stage);
        return s.weights < s.backwards && s.bytes + bytes > rules_.bytes_limit[stage];
    }

    void take_a_step(StageId stage, std::int64_t now) {
        const Stage& s = at(stage);
        const bool can_backward = backward_is_ready(stage, now), can_forward = forward_is_ready(stage, now);
        const bool forward = can_forward && !(can_backward && !rules_.forward_first);
        const bool backward = can_backward && !forward;
        if (rules_.split_backward) {
            std::int64_t more = 0;
            if (forward) more = costs(chunk_of(stage, rules_.forwards[s.forwards])).stash_bytes;
            if (backward) {
                const ComputationCosts& cost = costs(chunk_of(stage, rules_.backwards[s.backwards]));
                more = cost.deferred_bytes - cost.stash_bytes;
            }
            const bool idle = !forward && !backward && s.weights < s.backwards;
            if (idle || is_too_much(stage, more)) return take_weight_part(stage, now);
        }
        if (forward) take_forward(stage, now);
        if (backward) take_backward(stage, now);
    }

    void take_forward(StageId stage, std::int64_t now) {
        Stage& s = at(stage);
        const Visit& visit = rules_.forwards[s.forwards++];
        const ChunkId chunk = chunk_of(stage, visit);
        if (chunk == kFirst) ++s.started;
        s.bytes += costs(chunk).stash_bytes;
        perform(ComputationKind::forward, visit, stage, now + costs(chunk).forward);
        forward_ends_[index(chunk, visit.microbatch)] = s.busy_until;
        if (chunk < last_chunk()) wake(s.busy_until, placement_.stage_of(chunk + 1));
    }

    void take_backward(StageId stage, std::int64_t now) {
        Stage& s = at(stage);
        const bool split = rules_.split_backward;
        const Visit& visit = rules_.backwards[s.backwards++];
        const ChunkId chunk = chunk_of(stage, visit);
        const ComputationCosts& cost = costs(chunk);
        if (chunk == kFirst) ++s.finished;
        s.bytes += (split ? cost.deferred_bytes : 0) - cost.stash_bytes;
        perform(split ? ComputationKind::backward_input : ComputationKind::backward, visit, stage,
                now + cost.backward_input + (split ? 0 : cost.backward_weight));
        backward_ends_[index(chunk, visit.microbatch)] = s.busy_until;
        if (chunk > kFirst) wake(s.busy_until, placement_.stage_of(chunk - 1));
    }

    void take_weight_part(StageId stage, std::int64_t now) {
        Stage& s = at(stage);
        const Visit& visit = rules_.backwards[s.weights++];
        const ComputationCosts& cost = costs(chunk_of(stage, visit));
        s.bytes -= cost.deferred_bytes;
        perform(ComputationKind::backward_weight, visit, stage, now + cost.backward_weight);
    }

    void perform(ComputationKind kind, const Visit& visit, StageId stage, std::int64_t end) {
        result_.orders[stage].push_back({kind, visit.microbatch, chunk_of(stage, visit)});
        at(stage).busy_until = end;
        result_.makespan = std::max(result_.makespan, end);
        wake(end, stage);
    }

    void wake(std::int64_t when, StageId stage) { wake_ups_.emplace(when, stage); }

    void require_finished(StageId stage) {
        const Stage& s = at(stage);
        const bool weights_are_done = !rules_.split_backward || s.weights == rules_.backwards.size();
        if (s.forwards == rules_.forwards.size() && s.backwards == rules_.backwards.size() && weights_are_done) return;
        throw std::logic_error(
            fmt::format("schedule: stage {} of {} stops after {} of {} forwards and {} of {} backwards", stage,
                        stages_.size(), s.forwards, rules_.forwards.size(), s.backwards, rules_.backwards.size()));
    }

    const SchedulingRules& rules_;
    const Placement& placement_;
    Table<StageId, Stage> stages_;
    std::vector<std::int64_t> forward_ends_, backward_ends_;  // by chunk and microbatch
    std::priority_queue<std::pair<std::int64_t, StageId>, std::vector<std::pair<std::int64_t, StageId>>, std::greater<>>
        wake_ups_;
    ListSchedule result_;
};

}  // namespace

ListSchedule schedule_by_list(const SchedulingRules& rules) { return Pipeline(rules).run(); }

}  // namespace smp::partition
