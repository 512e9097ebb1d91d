#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {
namespace {

/// What an action needs to touch, beside the flat buffers.
struct Need {
    BufferKind kind = BufferKind::stash;
    MicrobatchId microbatch = {};
    ChunkId chunk = {};
    GroupId group = {};

    bool is(const Buffer& b) const {
        return b.kind == kind && b.microbatch == microbatch && b.chunk == chunk && b.group == group;
    }
};

bool is_flat(const Buffer& b) { return b.kind == BufferKind::gradients || b.kind == BufferKind::parameters; }
bool is_logits(const Buffer& b) { return b.kind == BufferKind::logits; }
bool is_tied(const Buffer& b) { return b.kind == BufferKind::tied_gradient || b.kind == BufferKind::tied_received; }

bool is_passing_to(const Buffer& b, BufferKind kind, ChunkId chunk, GroupId group) {
    return b.kind == kind && b.chunk == chunk && b.group == group && b.microbatch == kNone;
}

bool is_backward(ActionKind kind) { return kind == ActionKind::backward || kind == ActionKind::backward_input; }

class ComputePass {
  public:
    ComputePass(const Programs& programs, const Duty& duty) : programs_(programs), duty_(duty) {
        first_part_.push_back(0);
        for (const ChunkId chunk : duty.placement.all_chunks())
            first_part_.push_back(first_part_.back() + static_cast<std::size_t>(std::max(1, groups_of(chunk))));
        const std::size_t steps = first_part_.back() * static_cast<std::size_t>(duty.microbatches);
        for (auto* places : {&forwards_, &offloads_, &fetches_, &recomputed_, &backwards_, &weights_})
            places->resize(steps);
        last_weights_.resize(static_cast<std::size_t>(duty.placement.chunks()));
    }

    Findings run() {
        for (const StageId stage : programs_.ids()) check_stage(stage);
        for (const ChunkId chunk : duty_.placement.all_chunks()) {
            const int groups = std::max(1, groups_of(chunk));
            for (GroupId group = first_group(chunk); group < first_group(chunk) + groups; ++group) {
                for (const MicrobatchId microbatch : first_ids<MicrobatchId>(duty_.microbatches))
                    check_all_ran(microbatch, chunk, group);
            }
        }
        return std::move(findings_);
    }

  private:
    using Places = std::vector<std::optional<Place>>;

    std::string name(Place place) const { return shown(programs_, place); }
    /// Of a chunk: 0 where nothing is recomputed.
    int groups_of(ChunkId chunk) const { return duty_.training && !duty_.groups.empty() ? duty_.groups[chunk] : 0; }
    GroupId first_group(ChunkId chunk) const { return groups_of(chunk) == 0 ? kNone : GroupId(0); }
    std::optional<Place>& of(Places& places, MicrobatchId microbatch, ChunkId chunk, GroupId group) {
        const std::size_t part = first_part_[chunk] + (group == kNone ? 0 : group.index());
        return places[part * static_cast<std::size_t>(duty_.microbatches) + microbatch.index()];
    }
    Places& places_of(ActionKind kind) {
        if (kind == ActionKind::forward) return forwards_;
        if (kind == ActionKind::recompute) return recomputed_;
        if (kind == ActionKind::offload) return offloads_;
        if (kind == ActionKind::prefetch) return fetches_;
        return is_backward(kind) ? backwards_ : weights_;
    }
    StageId stage_of(ChunkId chunk) const { return duty_.placement.stage_of(chunk); }
    bool is_local(ChunkId chunk, ChunkId next) const { return stage_of(chunk) == stage_of(next); }

    void check_stage(StageId stage) {
        held_ = {};
        tasks_ = 0;
        computed_.reset();
        fetched_at_.clear();
        for (const ActionId i : programs_[stage].actions.ids()) {
            const Place here{stage, i};
            switch (at(programs_, here).kind) {
                case ActionKind::forward:
                case ActionKind::backward:
                case ActionKind::backward_input:
                case ActionKind::backward_weight:
                case ActionKind::recompute:
                case ActionKind::offload:
                case ActionKind::prefetch:
                    if (check_step(here)) check_bounds(here);
                    break;
                case ActionKind::send:
                case ActionKind::receive: check_transfer(here); break;
                default: break;  // check_update
            }
        }
    }

    /// Once each, on the right stage, forward before backward, weight gradients of a chunk ascending, on its own
    /// buffers.
    bool check_step(Place here) {
        const Action& action = at(programs_, here);
        const bool is_forward = action.kind == ActionKind::forward;
        const bool in_range = action.microbatch != kNone && action.microbatch < MicrobatchId(duty_.microbatches) &&
                              is_chunk(action.chunk) && has_group(action);
        if (!in_range || stage_of(action.chunk) != here.stage || (!is_forward && !duty_.training)) {
            findings_.push_back(fmt::format("{} is not among this stage's steps", name(here)));
            return false;
        }
        auto& place = of(places_of(action.kind), action.microbatch, action.chunk, action.group);
        if (place) {
            findings_.push_back(fmt::format("{} repeats {}", name(here), name(*place)));
            return false;
        }
        place = here;
        if (action.kind == ActionKind::offload || action.kind == ActionKind::prefetch) {
            check_copy(here);
            return true;
        }
        check_way_back(here);
        check_neighbour(here);
        if (!is_forward && action.kind != ActionKind::recompute) {
            // The head adds its weight's gradient in the input part, all others in the weight part: both ascend.
            auto& last = last_weights_[action.chunk][is_backward(action.kind) ? 0 : 1];
            if (last && at(programs_, *last).microbatch > action.microbatch)
                findings_.push_back(
                    fmt::format("{} adds weight gradients after {}; microbatches must add theirs in ascending order",
                                name(here), name(*last)));
            else
                last = here;
        }
        check_accesses(here);
        return true;
    }

    bool is_chunk(ChunkId chunk) const { return duty_.placement.has(chunk); }
    bool has_group(const Action& action) const {
        const int groups = groups_of(action.chunk);
        const bool is_copy = action.kind == ActionKind::offload || action.kind == ActionKind::prefetch;
        if (groups == 0) return action.group == kNone && action.kind != ActionKind::recompute && !is_copy;
        const bool has_input = action.group > GroupId(0) || action.chunk > ChunkId(0);
        return action.group != kNone && action.group < GroupId(groups) && (has_input || !is_copy) &&
               (duty_.loading_horizon > 0 || !is_copy);
    }

    /// A backward follows its recomputation, so that no more than one group's is alive.
    void check_neighbour(Place here) {
        const Action& action = at(programs_, here);
        const auto is_recomputation_of_it = [&](const Action& other) {
            return other.kind == ActionKind::recompute && other.microbatch == action.microbatch &&
                   other.chunk == action.chunk && other.group == action.group;
        };
        if (is_backward(action.kind) && action.group != kNone && computed_ &&
            !is_recomputation_of_it(at(programs_, *computed_)))
            findings_.push_back(
                fmt::format("{} does not follow its recomputation but {}", name(here), name(*computed_)));
        computed_ = here;
    }

    /// A group's input, as its forward finds it.
    static Need input_of(MicrobatchId mb, ChunkId chunk, GroupId group) {
        return {group <= GroupId(0) ? BufferKind::activation_in : BufferKind::checkpoint, mb, chunk, group};
    }

    void check_copy(Place here) {
        const Action& action = at(programs_, here);
        const MicrobatchId mb = action.microbatch;
        const ChunkId chunk = action.chunk;
        const GroupId group = action.group;
        const bool is_offload = action.kind == ActionKind::offload;
        if (is_offload && !of(forwards_, mb, chunk, group))
            findings_.push_back(fmt::format("{} comes before the forward has read what it takes away", name(here)));
        const Need host{BufferKind::offloaded, mb, chunk, group}, back{BufferKind::prefetched, mb, chunk, group};
        const Need from = is_offload ? input_of(mb, chunk, group) : host, to = is_offload ? host : back;
        check_needs(here, "read", action.reads, {&from, 1});
        check_needs(here, "write", action.writes, {&to, 1});
        for (const auto* list : {&action.reads, &action.writes})
            for (const BufferId b : *list)
                if (action.bytes != buffer(here, b).bytes)
                    findings_.push_back(fmt::format("{} moves {} bytes, where {} has {}", name(here), action.bytes,
                                                    name_of(buffer(here, b)), buffer(here, b).bytes));
        if (!is_offload) fetched_at_[{mb, chunk, group}] = tasks_;
    }

    /// What was fetched back came no earlier than the horizon allows. Counts the tasks of a stage.
    void check_way_back(Place here) {
        const Action& action = at(programs_, here);
        const auto fetched = fetched_at_.find({action.microbatch, action.chunk, action.group});
        if (action.kind == ActionKind::recompute && fetched != fetched_at_.end()) {
            const int ahead = tasks_ - fetched->second;
            if (ahead > duty_.loading_horizon)
                findings_.push_back(fmt::format(
                    "{} uses what {} fetched {} tasks ahead, where the horizon is {}", name(here),
                    name(*of(fetches_, action.microbatch, action.chunk, action.group)), ahead, duty_.loading_horizon));
        }
        if (action.kind != ActionKind::recompute) ++tasks_;
    }

    void check_accesses(Place here) {
        const Action& action = at(programs_, here);
        const MicrobatchId mb = action.microbatch;
        const ChunkId chunk = action.chunk;
        const GroupId group = action.group;
        const int groups = groups_of(chunk);
        const bool is_first = group <= GroupId(0), is_last = group + 1 >= GroupId(groups);  // of the chunk
        const bool has_input = !is_first || chunk > ChunkId(0), has_output = !is_last || is_chunk(chunk + 1);
        const bool is_forward = action.kind == ActionKind::forward,
                   is_weight = action.kind == ActionKind::backward_weight;
        const bool is_recomputation = action.kind == ActionKind::recompute;
        std::array<Need, 3> reads{}, writes{};
        std::vector<Need> consumed;
        std::size_t reads_count = 0, writes_count = 0;
        const auto must_read = [&](const Need& need) { reads[reads_count++] = need; };
        const auto must_write = [&](const Need& need) { writes[writes_count++] = need; };
        const Need stash{BufferKind::stash, mb, chunk, group}, deferred{BufferKind::deferred, mb, chunk, group};
        const bool comes_back = !is_forward && groups > 0 && of(offloads_, mb, chunk, group);
        const Need input = comes_back ? Need{BufferKind::prefetched, mb, chunk, group} : input_of(mb, chunk, group);
        if (has_input && !is_weight) must_read(input);
        if (is_recomputation) {
            must_write(stash);
        } else if (is_forward) {
            if (duty_.training && groups == 0) must_write(stash);
            if (has_output) must_write(output_of(mb, chunk, group, is_last));
        } else if (is_weight) {
            consumed = {deferred};
        } else {
            consumed = {stash};
            if (has_output)
                consumed.push_back(is_last ? Need{BufferKind::gradient_in, mb, chunk}
                                           : Need{BufferKind::checkpoint_gradient, mb, chunk, group + 1});
            if (has_input) must_write(input_gradient_of(mb, chunk, group, is_first));
            if (action.kind == ActionKind::backward_input) must_write(deferred);
        }
        check_needs(here, "read", action.reads, std::span(reads).first(reads_count));
        check_needs(here, "write", action.writes, std::span(writes).first(writes_count));
        check_needs(here, "consume", action.consumes, consumed);
        check_memory(here);
        if (!is_weight && !touches(programs_, here, action.reads, BufferKind::parameters, chunk))
            findings_.push_back(fmt::format("{} does not read parameters chunk{}", name(here), chunk));
        if (!is_forward && !is_recomputation)
            require_chunk_buffer(programs_, here, BufferKind::gradients, chunk, findings_);
        for (const BufferId b : action.writes) {
            if (!is_tied(buffer(here, b))) continue;
            const bool is_complete = (action.kind == ActionKind::backward || is_weight) && is_first &&
                                     mb + 1 == MicrobatchId(duty_.microbatches) && buffer(here, b).chunk == chunk;
            if (!is_complete)
                findings_.push_back(fmt::format("{} must not write {}: it is not the last to add to it", name(here),
                                                name_of(buffer(here, b))));
        }
    }

    /// Its own scratch, and room at least for what it leaves.
    void check_memory(Place here) {
        const Action& action = at(programs_, here);
        for (const BufferId b : action.scratch) {
            if (!is_passing_to(buffer(here, b), BufferKind::scratch, action.chunk, action.group))
                findings_.push_back(fmt::format("{} must not use {} as scratch", name(here), name_of(buffer(here, b))));
        }
        std::int64_t left = 0;
        for (const BufferId b : action.writes) {
            if (!is_flat(buffer(here, b)) && !is_tied(buffer(here, b)) && !is_logits(buffer(here, b)))
                left += buffer(here, b).bytes;
        }
        for (const BufferId b : action.consumes) left -= buffer(here, b).bytes;
        if (action.growth_bytes < std::max<std::int64_t>(left, 0))
            findings_.push_back(
                fmt::format("{} takes {} bytes more at most, but leaves {}", name(here), action.growth_bytes, left));
    }

    Need output_of(MicrobatchId mb, ChunkId chunk, GroupId group, bool is_last) const {
        if (!is_last) return {BufferKind::checkpoint, mb, chunk, group + 1};
        if (is_local(chunk, chunk + 1)) return {BufferKind::activation_in, mb, chunk + 1, first_group(chunk + 1)};
        return {BufferKind::activation_out, mb, chunk};
    }
    Need input_gradient_of(MicrobatchId mb, ChunkId chunk, GroupId group, bool is_first) const {
        if (!is_first) return {BufferKind::checkpoint_gradient, mb, chunk, group};
        if (is_local(chunk, chunk - 1)) return {BufferKind::gradient_in, mb, chunk - 1};
        return {BufferKind::gradient_out, mb, chunk};
    }

    const Buffer& buffer(Place here, BufferId id) const { return buffer_of(programs_, here, id); }

    void check_needs(Place here, const char* verb, const std::vector<BufferId>& list, std::span<const Need> needs) {
        for (const Need& need : needs) {
            if (std::any_of(list.begin(), list.end(), [&](BufferId b) { return need.is(buffer(here, b)); })) continue;
            findings_.push_back(fmt::format(
                "{} does not {} {}", name(here), verb,
                name_of(Buffer{
                    .kind = need.kind, .microbatch = need.microbatch, .chunk = need.chunk, .group = need.group})));
        }
        for (const BufferId b : list) {
            if (is_flat(buffer(here, b)) || is_tied(buffer(here, b)) || is_logits(buffer(here, b))) continue;
            if (std::any_of(needs.begin(), needs.end(), [&](const Need& need) { return need.is(buffer(here, b)); }))
                continue;
            findings_.push_back(fmt::format("{} must not {} {}", name(here), verb, name_of(buffer(here, b))));
        }
    }

    /// A transfer moves the buffer that its channel, microbatch and chunk say.
    void check_transfer(Place here) {
        const Action& action = at(programs_, here);
        if (action.channel != Channel::tied && (!is_chunk(action.chunk) || stage_of(action.chunk) != here.stage)) {
            findings_.push_back(fmt::format("{} is of no chunk of this stage", name(here)));
            return;
        }
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
        const GroupId group = kind == BufferKind::activation_in ? first_group(action.chunk) : kNone;
        if (!Need{kind, action.microbatch, action.chunk, group}.is(moved))
            findings_.push_back(fmt::format("{} moves {}", name(here), name_of(moved)));
        if (action.bytes != moved.bytes)
            findings_.push_back(fmt::format("{} moves {} bytes of {}, which has {}", name(here), action.bytes,
                                            name_of(moved), moved.bytes));
    }

    /// What a stage holds while its list is read.
    struct Held {
        int in_flight = 0;
        int active = 0;          // on stage 0: where each microbatch's first forward and last backward are
        std::int64_t bytes = 0;  // of inputs, stashes or checkpoints, and of what is deferred
        std::optional<Place> previous;
    };

    void check_bounds(Place here) {
        const Action& action = at(programs_, here);
        const bool is_forward = action.kind == ActionKind::forward;
        // A microbatch is in flight from its first group's forward to the same group's backward, the last one.
        const int change = action.group > GroupId(0) ? 0 : is_forward ? 1 : is_backward(action.kind) ? -1 : 0;
        const bool keeps_stash = groups_of(action.chunk) == 0;
        held_.in_flight += change;
        if (action.chunk == ChunkId(0)) held_.active += change;
        const auto bytes_of = [&](const std::vector<BufferId>& list) {
            std::int64_t bytes = 0;
            for (const BufferId b : list) {
                const BufferKind kind = buffer(here, b).kind;
                const bool is_kept = kind == BufferKind::activation_in || kind == BufferKind::checkpoint ||
                                     kind == BufferKind::prefetched || kind == BufferKind::deferred ||
                                     (kind == BufferKind::stash && keeps_stash);
                if (is_kept) bytes += buffer(here, b).bytes;
            }
            return bytes;
        };
        // An input is kept for the backward from when the first group's forward reads it.
        if (change > 0) held_.bytes += bytes_of(action.reads);
        held_.bytes += bytes_of(action.writes) - bytes_of(action.consumes) - bytes_of(action.frees);
        const auto refuse = [&](const std::string& what, auto limit) {
            findings_.push_back(fmt::format("{} makes {} on stage {} right after {}, where at most {} may be",
                                            name(here), what, here.stage,
                                            held_.previous ? name(*held_.previous) : "nothing", limit));
        };
        if (duty_.training && is_forward && change > 0) {
            if (action.chunk == ChunkId(0) && held_.active > duty_.active_microbatches)
                refuse(fmt::format("{} microbatches active", held_.active), duty_.active_microbatches);
            else if (!duty_.in_flight.empty() && held_.in_flight > duty_.in_flight[here.stage])
                refuse(fmt::format("{} microbatches in flight", held_.in_flight), duty_.in_flight[here.stage]);
        }
        if (duty_.training && !duty_.held_bytes.empty() && held_.bytes > duty_.held_bytes[here.stage])
            refuse(fmt::format("{} bytes held", held_.bytes), duty_.held_bytes[here.stage]);
        held_.previous = here;
    }

    void check_all_ran(MicrobatchId microbatch, ChunkId chunk, GroupId group) {
        const auto& forward_place = of(forwards_, microbatch, chunk, group);
        const auto& recomputed_place = of(recomputed_, microbatch, chunk, group);
        const auto& backward_place = of(backwards_, microbatch, chunk, group);
        const auto& weight_place = of(weights_, microbatch, chunk, group);
        const auto missing = [&](ActionKind kind, const std::optional<Place>& other) {
            const std::string step =
                name_of(Action{.kind = kind, .microbatch = microbatch, .chunk = chunk, .group = group});
            findings_.push_back(other ? fmt::format("{} has no {}", name(*other), step)
                                      : fmt::format("stage {} never runs {}", stage_of(chunk), step));
        };
        const auto in_order = [&](const std::optional<Place>& earlier, const std::optional<Place>& later) {
            if (earlier && later && earlier->position > later->position)
                findings_.push_back(fmt::format("{} comes after {}", name(*earlier), name(*later)));
        };
        if (!forward_place) missing(ActionKind::forward, backward_place);
        if (!duty_.training) return;
        if (!backward_place) missing(weight_place ? ActionKind::backward_input : ActionKind::backward, forward_place);
        const bool is_split = backward_place && at(programs_, *backward_place).kind == ActionKind::backward_input;
        if (is_split && !weight_place) missing(ActionKind::backward_weight, backward_place);
        if (backward_place && !is_split && weight_place)
            findings_.push_back(fmt::format("{} repeats what {} did", name(*weight_place), name(*backward_place)));
        if (group != kNone && !recomputed_place) missing(ActionKind::recompute, backward_place);
        in_order(forward_place, group != kNone ? recomputed_place : backward_place);
        in_order(recomputed_place, backward_place);
        in_order(backward_place, weight_place);
    }

    const Programs& programs_;
    const Duty& duty_;
    Table<ChunkId, std::size_t> first_part_;  // parts (groups, or 1) of those before
    // By part and microbatch.
    Places forwards_, offloads_, fetches_, recomputed_, backwards_, weights_;
    Table<ChunkId, std::array<std::optional<Place>, 2>> last_weights_;      // backward or input part; weight part
    int tasks_ = 0;                                                         // of the stage, so far
    std::map<std::tuple<MicrobatchId, ChunkId, GroupId>, int> fetched_at_;  // tasks before
    std::optional<Place> computed_;                                         // the stage's last compute action so far
    Held held_;
    Findings findings_;
};

}  // namespace

Findings check_compute(const Programs& programs, const Duty& duty) { return ComputePass(programs, duty).run(); }

}  // namespace smp::partition::passes
