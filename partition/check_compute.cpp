#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "partition/checker_passes.h"

namespace smp::partition::passes {
namespace {

/// What an action needs to touch, beside the flat buffers.
struct Need {
    BufferKind kind;
    int microbatch;
    int chunk;

    bool is(const Buffer& b) const { return b.kind == kind && b.microbatch == microbatch && b.chunk == chunk; }
};

bool is_flat(const Buffer& b) { return b.kind == BufferKind::gradients || b.kind == BufferKind::parameters; }
bool is_tied(const Buffer& b) { return b.kind == BufferKind::tied_gradient || b.kind == BufferKind::tied_received; }

class ComputePass {
  public:
    ComputePass(const std::vector<RankProgram>& programs, const Duty& duty)
        : programs_(programs), duty_(duty), stages_(static_cast<int>(programs.size())) {
        const auto steps = static_cast<std::size_t>(duty.chunks * duty.microbatches);
        forwards_.resize(steps);
        backwards_.resize(steps);
    }

    Findings run() {
        for (int stage = 0; stage < stages_; ++stage) check_stage(stage);
        for (int chunk = 0; chunk < duty_.chunks; ++chunk) {
            for (int microbatch = 0; microbatch < duty_.microbatches; ++microbatch) check_both_ran(microbatch, chunk);
        }
        return std::move(findings_);
    }

  private:
    std::string name(Place place) const { return shown(programs_, place); }
    std::optional<Place>& forward(int microbatch, int chunk) { return forwards_[index(microbatch, chunk)]; }
    std::optional<Place>& backward(int microbatch, int chunk) { return backwards_[index(microbatch, chunk)]; }
    std::size_t index(int microbatch, int chunk) const {
        return static_cast<std::size_t>(chunk * duty_.microbatches + microbatch);
    }
    bool is_local(int chunk, int next) const { return chunk % stages_ == next % stages_; }

    void check_stage(int stage) {
        const auto actions = static_cast<int>(programs_[static_cast<std::size_t>(stage)].actions.size());
        std::optional<Place> reduced, updated, last_sum, previous;
        int in_flight = 0;
        for (int i = 0; i < actions; ++i) {
            const Place here{stage, i};
            const Action& action = at(programs_, here);
            const auto refuse_after = [&](const std::optional<Place>& earlier) {
                if (earlier) findings_.push_back(fmt::format("{} comes after {}", name(here), name(*earlier)));
            };
            switch (action.kind) {
                case ActionKind::forward:
                case ActionKind::backward: {
                    if (!check_step(here)) break;
                    refuse_after(last_sum ? last_sum : reduced ? reduced : updated);
                    in_flight += action.kind == ActionKind::forward ? 1 : -1;
                    if (action.kind == ActionKind::forward) check_bounds(here, in_flight, previous);
                    previous = here;
                    break;
                }
                case ActionKind::send:
                case ActionKind::receive: check_transfer(here); break;
                case ActionKind::sum_tied_gradients:
                    check_sum(here);
                    refuse_after(reduced ? reduced : updated);
                    last_sum = here;
                    break;
                case ActionKind::reduce_gradients:
                    require_flat(here, BufferKind::gradients, BufferKind::gradients);
                    refuse_after(reduced ? reduced : updated);
                    reduced = here;
                    break;
                case ActionKind::optimizer_step:
                    require_flat(here, BufferKind::gradients, BufferKind::parameters);
                    refuse_after(updated);
                    updated = here;
                    break;
                case ActionKind::join: break;
                default: findings_.push_back(fmt::format("{} is of a kind that is not checked yet", name(here)));
            }
        }
        if (duty_.training && (!reduced || !updated)) {
            findings_.push_back(fmt::format("stage {} ends with {} without {}", stage,
                                            actions > 0 ? name({stage, actions - 1}) : "nothing",
                                            !reduced ? "reduce gradients" : "optimizer step"));
        } else if (!duty_.training && (reduced || updated || last_sum)) {
            findings_.push_back(
                fmt::format("{} does not belong into a forward-only program", name(reduced   ? *reduced
                                                                                   : updated ? *updated
                                                                                             : *last_sum)));
        }
    }

    /// Once each, on the right stage, forward before backward, backwards of a chunk ascending, on its own buffers.
    bool check_step(Place here) {
        const Action& action = at(programs_, here);
        const bool is_forward = action.kind == ActionKind::forward;
        const bool in_range = action.microbatch >= 0 && action.microbatch < duty_.microbatches && action.chunk >= 0 &&
                              action.chunk < duty_.chunks;
        if (!in_range || action.chunk % stages_ != here.stage || (!is_forward && !duty_.training)) {
            findings_.push_back(fmt::format("{} is not among this stage's steps", name(here)));
            return false;
        }
        auto& place = is_forward ? forward(action.microbatch, action.chunk) : backward(action.microbatch, action.chunk);
        if (place) {
            findings_.push_back(fmt::format("{} repeats {}", name(here), name(*place)));
            return false;
        }
        place = here;
        if (!is_forward) {
            for (int later = action.microbatch + 1; later < duty_.microbatches; ++later) {
                if (!backward(later, action.chunk)) continue;
                findings_.push_back(
                    fmt::format("{} adds weight gradients after {}; microbatches must add theirs in ascending order",
                                name(here), name(*backward(later, action.chunk))));
                break;
            }
        }
        check_accesses(here, is_forward);
        return true;
    }

    void check_accesses(Place here, bool is_forward) {
        const Action& action = at(programs_, here);
        const int mb = action.microbatch, chunk = action.chunk;
        const bool has_input = chunk > 0, has_output = chunk + 1 < duty_.chunks;
        std::vector<Need> reads, writes;
        if (has_input) reads.push_back({BufferKind::activation_in, mb, chunk});
        if (is_forward) {
            if (duty_.training) writes.push_back({BufferKind::stash, mb, chunk});
            if (has_output && is_local(chunk, chunk + 1)) writes.push_back({BufferKind::activation_in, mb, chunk + 1});
            if (has_output && !is_local(chunk, chunk + 1)) writes.push_back({BufferKind::activation_out, mb, chunk});
        } else {
            reads.push_back({BufferKind::stash, mb, chunk});
            if (has_output) reads.push_back({BufferKind::gradient_in, mb, chunk});
            if (has_input && is_local(chunk, chunk - 1)) writes.push_back({BufferKind::gradient_in, mb, chunk - 1});
            if (has_input && !is_local(chunk, chunk - 1)) writes.push_back({BufferKind::gradient_out, mb, chunk});
        }
        check_needs(here, "read", action.reads, reads);
        check_needs(here, "write", action.writes, writes);
        if (!touches(here, action.reads, BufferKind::parameters))
            findings_.push_back(name(here) + " does not read the parameters");
        if (!is_forward) require_flat(here, BufferKind::gradients, BufferKind::gradients);
        for (const int b : action.writes) {
            if (!is_tied(buffer(here, b))) continue;
            const bool is_complete = !is_forward && mb + 1 == duty_.microbatches && buffer(here, b).chunk == chunk;
            if (!is_complete)
                findings_.push_back(fmt::format("{} must not write {}: it is not the last to add to it", name(here),
                                                name_of(buffer(here, b))));
        }
    }

    bool touches(Place here, const std::vector<int>& list, BufferKind kind) const {
        return std::any_of(list.begin(), list.end(), [&](int b) { return buffer(here, b).kind == kind; });
    }

    void require_flat(Place here, BufferKind read, BufferKind written) {
        const Action& action = at(programs_, here);
        if (!touches(here, action.reads, read))
            findings_.push_back(fmt::format("{} does not read {}", name(here), name_of(Buffer{.kind = read})));
        if (!touches(here, action.writes, written))
            findings_.push_back(fmt::format("{} does not write {}", name(here), name_of(Buffer{.kind = written})));
    }

    /// All copies of one shared parameter, in ascending order of modules: otherwise stages add in different orders.
    void check_sum(Place here) {
        require_flat(here, BufferKind::gradients, BufferKind::gradients);
        const Buffer* previous = nullptr;
        for (const int b : at(programs_, here).reads) {
            const Buffer& copy = buffer(here, b);
            if (!is_tied(copy)) continue;
            if (previous && (previous->shared != copy.shared || previous->module >= copy.module)) {
                findings_.push_back(fmt::format("{} adds {} after {}", name(here), name_of(copy), name_of(*previous)));
            }
            previous = &copy;
        }
    }

    const Buffer& buffer(Place here, int id) const {
        return programs_[static_cast<std::size_t>(here.stage)].buffers[static_cast<std::size_t>(id)];
    }

    void check_needs(Place here, const char* verb, const std::vector<int>& list, const std::vector<Need>& needs) {
        for (const Need& need : needs) {
            if (std::any_of(list.begin(), list.end(), [&](int b) { return need.is(buffer(here, b)); })) continue;
            findings_.push_back(
                fmt::format("{} does not {} {}", name(here), verb,
                            name_of(Buffer{.kind = need.kind, .microbatch = need.microbatch, .chunk = need.chunk})));
        }
        for (const int b : list) {
            if (is_flat(buffer(here, b)) || is_tied(buffer(here, b))) continue;
            if (std::any_of(needs.begin(), needs.end(), [&](const Need& need) { return need.is(buffer(here, b)); }))
                continue;
            findings_.push_back(fmt::format("{} must not {} {}", name(here), verb, name_of(buffer(here, b))));
        }
    }

    /// A transfer moves the buffer that its channel, microbatch and chunk say.
    void check_transfer(Place here) {
        const Action& action = at(programs_, here);
        const bool is_send = action.kind == ActionKind::send;
        const Buffer& moved = buffer(here, is_send ? (action.reads.empty() ? action.writes : action.reads).front()
                                                   : (action.writes.empty() ? action.reads : action.writes).front());
        const BufferKind kind =
            action.channel == Channel::activations ? (is_send ? BufferKind::activation_out : BufferKind::activation_in)
            : action.channel == Channel::gradients ? (is_send ? BufferKind::gradient_out : BufferKind::gradient_in)
                                                   : (is_send ? BufferKind::tied_gradient : BufferKind::tied_received);
        if (action.reads.empty() == is_send)
            findings_.push_back(
                fmt::format("{} {} its buffer", name(here), is_send ? "does not read" : "does not write"));
        if (!Need{kind, action.microbatch, action.chunk}.is(moved))
            findings_.push_back(fmt::format("{} moves {}", name(here), name_of(moved)));
        if (action.bytes != moved.bytes)
            findings_.push_back(fmt::format("{} moves {} bytes of {}, which has {}", name(here), action.bytes,
                                            name_of(moved), moved.bytes));
    }

    void check_bounds(Place here, int in_flight, const std::optional<Place>& previous) {
        if (!duty_.training) return;
        const bool counts_active = here.stage == 0 && duty_.chunks == stages_;
        int limit = duty_.in_flight.empty() ? duty_.active_microbatches * (duty_.chunks / stages_)
                                            : duty_.in_flight[static_cast<std::size_t>(here.stage)];
        if (counts_active) limit = std::min(limit, duty_.active_microbatches);
        if (in_flight <= limit) return;
        findings_.push_back(
            fmt::format("{} makes {} microbatches in flight on stage {} right after {}, where at most {} may be",
                        name(here), in_flight, here.stage, previous ? name(*previous) : "nothing", limit));
    }

    void check_both_ran(int microbatch, int chunk) {
        const auto& forward_place = forward(microbatch, chunk);
        const auto& backward_place = backward(microbatch, chunk);
        const auto missing = [&](ActionKind kind, const std::optional<Place>& other) {
            const std::string step = name_of(Action{.kind = kind, .microbatch = microbatch, .chunk = chunk});
            findings_.push_back(other ? fmt::format("{} has no {}", name(*other), step)
                                      : fmt::format("stage {} never runs {}", chunk % stages_, step));
        };
        if (!forward_place) missing(ActionKind::forward, backward_place);
        if (!duty_.training) return;
        if (!backward_place) missing(ActionKind::backward, forward_place);
        if (forward_place && backward_place && forward_place->position > backward_place->position) {
            findings_.push_back(fmt::format("{} comes after {}", name(*forward_place), name(*backward_place)));
        }
    }

    const std::vector<RankProgram>& programs_;
    const Duty& duty_;
    int stages_;
    std::vector<std::optional<Place>> forwards_, backwards_;
    Findings findings_;
};

}  // namespace

Findings check_compute(const std::vector<RankProgram>& programs, const Duty& duty) {
    return ComputePass(programs, duty).run();
}

}  // namespace smp::partition::passes
