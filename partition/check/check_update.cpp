// What becomes of gradients once they are complete, and where parameters come from: sums of tied copies, reductions,
// the update, gathering.
#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"

namespace smp::partition::passes {

bool touches(const Programs& programs, Place here, const std::vector<BufferId>& list, BufferKind kind, ChunkId chunk) {
    return std::any_of(list.begin(), list.end(), [&](BufferId b) {
        const Buffer& buffer = buffer_of(programs, here, b);
        return buffer.kind == kind && buffer.chunk == chunk;
    });
}

void require_chunk_buffer(const Programs& programs, Place here, BufferKind kind, ChunkId chunk, Findings& findings) {
    const Action& action = at(programs, here);
    const auto wanted = name_of(Buffer{.kind = kind, .chunk = chunk});
    if (!touches(programs, here, action.reads, kind, chunk))
        findings.push_back(fmt::format("{} does not read {}", shown(programs, here), wanted));
    if (!touches(programs, here, action.writes, kind, chunk))
        findings.push_back(fmt::format("{} does not write {}", shown(programs, here), wanted));
    for (const auto* list : {&action.reads, &action.writes}) {
        for (const BufferId b : *list) {
            const Buffer& buffer = buffer_of(programs, here, b);
            if (buffer.kind == kind && buffer.chunk != chunk)
                findings.push_back(fmt::format("{} must not use {}", shown(programs, here), name_of(buffer)));
        }
    }
}

namespace {

/// One stage's program.
class UpdatePass {
  public:
    UpdatePass(const Programs& programs, const Duty& duty, StageId stage, Findings& findings)
        : programs_(programs), duty_(duty), stage_(stage), findings_(findings) {}

    void run() {
        const auto& actions = programs_[stage_].actions;
        for (const ActionId i : actions.ids()) read({stage_, i});
        const std::string last = actions.empty() ? "nothing" : name({stage_, actions.last_id()});
        for (const ChunkId chunk : duty_.placement.chunks_of(stage_)) {
            if (duty_.training && !reductions_.contains(chunk)) miss(ActionKind::reduce_gradients, chunk, last);
            if (duty_.gathers_parameters && !gathers_.contains(chunk)) miss(ActionKind::gather_parameters, chunk, last);
        }
        if (duty_.training && !update_) miss(ActionKind::optimizer_step, kNone, last);
    }

  private:
    using PlaceOfChunk = std::map<ChunkId, Place>;

    std::string name(Place place) const { return shown(programs_, place); }
    const Action& action(Place place) const { return at(programs_, place); }
    const Buffer& buffer(Place here, BufferId id) const { return buffer_of(programs_, here, id); }
    void add(std::string finding) { findings_.push_back(std::move(finding)); }
    void miss(ActionKind kind, ChunkId chunk, const std::string& last) {
        add(fmt::format("stage {} ends with {} without {}", stage_, last,
                        name_of(Action{.kind = kind, .chunk = chunk})));
    }
    void refuse_after(Place here, const std::optional<Place>& earlier) {
        if (earlier) add(fmt::format("{} comes after {}", name(here), name(*earlier)));
    }
    static std::optional<Place> find(const PlaceOfChunk& places, ChunkId chunk) {
        const auto found = places.find(chunk);
        return found == places.end() ? std::nullopt : std::optional(found->second);
    }

    void read(Place here) {
        switch (action(here).kind) {
            case ActionKind::forward:
                forwards_.try_emplace(action(here).chunk, here);
                refuse_after(here, update_);
                break;
            case ActionKind::recompute:
            case ActionKind::offload:
            case ActionKind::prefetch: refuse_after(here, update_); break;
            case ActionKind::backward:
            case ActionKind::backward_input:
            case ActionKind::backward_weight:
                refuse_after(here, last_sum_ ? last_sum_ : find(reductions_, action(here).chunk));
                refuse_after(here, update_);
                break;
            case ActionKind::sum_tied_gradients: read_sum(here); break;
            case ActionKind::reduce_gradients: read_reduction(here); break;
            case ActionKind::optimizer_step: read_update(here); break;
            case ActionKind::gather_parameters: read_gather(here); break;
            case ActionKind::send:
            case ActionKind::receive:
            case ActionKind::join: break;
        }
    }

    bool belongs(Place here, bool wanted) {
        const ChunkId chunk = action(here).chunk;
        const bool needs_chunk = action(here).channel == Channel::data;
        if (!wanted) {
            add(fmt::format("{} does not belong into {} program", name(here),
                            duty_.training ? "this" : "a forward-only"));
        } else if (needs_chunk && !duty_.placement.is_on(stage_, chunk)) {
            add(fmt::format("{} is not of a chunk of this stage", name(here)));
        } else {
            return true;
        }
        return false;
    }

    void require_bytes(Place here, BufferKind kind) {
        for (const BufferId b : action(here).writes) {
            if (buffer(here, b).kind == kind && action(here).bytes != buffer(here, b).bytes)
                add(fmt::format("{} has {} bytes of {}, which has {}", name(here), action(here).bytes,
                                name_of(buffer(here, b)), buffer(here, b).bytes));
        }
    }

    void read_gather(Place here) {
        if (!belongs(here, duty_.gathers_parameters)) return;
        const ChunkId chunk = action(here).chunk;
        require_chunk_buffer(programs_, here, BufferKind::parameters, chunk, findings_);
        require_bytes(here, BufferKind::parameters);
        refuse_after(here, find(gathers_, chunk));
        refuse_after(here, find(forwards_, chunk));
        gathers_.try_emplace(chunk, here);
    }

    void read_reduction(Place here) {
        if (!belongs(here, duty_.training)) return;
        const ChunkId chunk = action(here).chunk;
        require_chunk_buffer(programs_, here, BufferKind::gradients, chunk, findings_);
        require_bytes(here, BufferKind::gradients);
        refuse_after(here, find(reductions_, chunk));
        refuse_after(here, update_);
        reductions_.try_emplace(chunk, here);
    }

    void read_update(Place here) {
        if (!belongs(here, duty_.training)) return;
        for (const ChunkId chunk : duty_.placement.chunks_of(stage_)) {
            if (!touches(programs_, here, action(here).reads, BufferKind::gradients, chunk))
                add(fmt::format("{} does not read gradients chunk{}", name(here), chunk));
            if (!touches(programs_, here, action(here).writes, BufferKind::parameters, chunk))
                add(fmt::format("{} does not write parameters chunk{}", name(here), chunk));
        }
        refuse_after(here, update_);
        update_ = here;
    }

    /// All copies of one shared parameter, in ascending order of modules: otherwise stages add in different orders. It
    /// writes the gradients of the chunks whose copies it reads.
    void read_sum(Place here) {
        if (!belongs(here, duty_.training)) return;
        const Buffer* previous = nullptr;
        for (const BufferId b : action(here).reads) {
            const Buffer& copy = buffer(here, b);
            if (copy.kind != BufferKind::tied_gradient && copy.kind != BufferKind::tied_received) continue;
            if (previous && (previous->shared != copy.shared || previous->module >= copy.module))
                add(fmt::format("{} adds {} after {}", name(here), name_of(copy), name_of(*previous)));
            previous = &copy;
            if (copy.kind == BufferKind::tied_gradient &&
                !touches(programs_, here, action(here).writes, BufferKind::gradients, copy.chunk))
                add(fmt::format("{} does not write gradients chunk{}", name(here), copy.chunk));
        }
        for (const BufferId b : action(here).frees) {
            const auto& reads = action(here).reads;
            if (std::find(reads.begin(), reads.end(), b) == reads.end())
                add(fmt::format("{} frees {} without adding it", name(here), name_of(buffer(here, b))));
        }
        for (const BufferId b : action(here).writes) refuse_after(here, find(reductions_, buffer(here, b).chunk));
        refuse_after(here, update_);
        last_sum_ = here;
    }

    const Programs& programs_;
    const Duty& duty_;
    StageId stage_;
    Findings& findings_;
    PlaceOfChunk forwards_, gathers_, reductions_;  // the first of each chunk
    std::optional<Place> last_sum_, update_;
};

}  // namespace

Findings check_update(const Programs& programs, const Duty& duty) {
    Findings findings;
    for (const StageId stage : programs.ids()) UpdatePass(programs, duty, stage, findings).run();
    return findings;
}

}  // namespace smp::partition::passes
