// What becomes of gradients once they are complete, and where parameters come from: sums of tied copies and of rows,
// reductions, the update, gathering.
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
            if (duty_.training) require_all_buckets(ActionKind::reduce_gradients, chunk, reductions_, last);
            if (duty_.gathers_parameters) require_all_buckets(ActionKind::gather_parameters, chunk, gathers_, last);
        }
        if (duty_.training && !update_) miss(ActionKind::optimizer_step, kNone, last);
    }

  private:
    using PlaceOfChunk = std::map<ChunkId, Place>;
    using PlacesOfChunk = std::map<ChunkId, std::vector<Place>>;

    std::string name(Place place) const { return shown(programs_, place); }
    const Action& action(Place place) const { return at(programs_, place); }
    const Buffer& buffer(Place here, BufferId id) const { return buffer_of(programs_, here, id); }
    void add(std::string finding) { findings_.push_back(std::move(finding)); }
    void miss(ActionKind kind, ChunkId chunk, const std::string& last, BucketId bucket = {}) {
        add(fmt::format("stage {} ends with {} without {}", stage_, last,
                        name_of(Action{.kind = kind, .chunk = chunk, .bucket = bucket})));
    }

    FlatSection section(ChunkId chunk) const {
        return duty_.sections.has(chunk) ? duty_.sections[chunk] : FlatSection{};
    }
    /// Which bucket of a chunk is due when so many have been: none, where it is all at once.
    BucketId bucket_due(ChunkId chunk, int done) const {
        return section(chunk).buckets() == 0 ? BucketId() : BucketId(done);
    }
    void require_all_buckets(ActionKind kind, ChunkId chunk, const PlacesOfChunk& places, const std::string& last) {
        const auto found = places.find(chunk);
        const int done = found == places.end() ? 0 : static_cast<int>(found->second.size());
        if (done < std::max(1, section(chunk).buckets())) miss(kind, chunk, last, bucket_due(chunk, done));
    }
    /// Buckets come one after another, each once, with its share of the bytes of the chunk's buffer.
    void read_bucket(Place here, BufferKind kind, PlacesOfChunk& places) {
        const Action& collective = action(here);
        const FlatSection cut = section(collective.chunk);
        auto& before = places[collective.chunk];
        const auto done = static_cast<int>(before.size());
        const BucketId due = bucket_due(collective.chunk, done);
        const bool are_over = done >= std::max(1, cut.buckets());
        if (are_over) {
            refuse_after(here, before.back());
        } else if (collective.bucket != due) {
            add(fmt::format("{} comes where {} is due", name(here),
                            name_of(Action{.kind = collective.kind, .chunk = collective.chunk, .bucket = due})));
        } else {
            for (const BufferId b : collective.writes) {
                const Buffer& flat = buffer(here, b);
                if (flat.kind != kind) continue;
                const std::int64_t bytes = due == kNone ? flat.bytes : flat.bytes / cut.elements * cut.elements_of(due);
                if (collective.bytes != bytes)
                    add(fmt::format("{} has {} bytes of {}, where its part has {}", name(here), collective.bytes,
                                    name_of(flat), bytes));
            }
        }
        before.push_back(here);
    }
    void refuse_after(Place here, const std::optional<Place>& earlier) {
        if (earlier) add(fmt::format("{} comes after {}", name(here), name(*earlier)));
    }
    static std::optional<Place> find(const PlaceOfChunk& places, ChunkId chunk) {
        const auto found = places.find(chunk);
        return found == places.end() ? std::nullopt : std::optional(found->second);
    }
    static std::optional<Place> first_of(const PlacesOfChunk& places, ChunkId chunk) {
        const auto found = places.find(chunk);
        return found == places.end() ? std::nullopt : std::optional(found->second.front());
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
                refuse_after(here, last_sum_ ? last_sum_ : first_of(reductions_, action(here).chunk));
                refuse_after(here, find(row_sums_, action(here).chunk));
                refuse_after(here, update_);
                break;
            case ActionKind::sum_tied_gradients: read_sum(here); break;
            case ActionKind::sum_row_gradients: read_row_sum(here); break;
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
        const bool needs_chunk =
            action(here).channel == Channel::data || action(here).kind == ActionKind::sum_row_gradients;
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

    void read_gather(Place here) {
        if (!belongs(here, duty_.gathers_parameters)) return;
        const ChunkId chunk = action(here).chunk;
        require_chunk_buffer(programs_, here, BufferKind::parameters, chunk, findings_);
        read_bucket(here, BufferKind::parameters, gathers_);
        refuse_after(here, find(forwards_, chunk));
    }

    void read_row_sum(Place here) {
        if (!belongs(here, duty_.training)) return;
        const ChunkId chunk = action(here).chunk;
        require_chunk_buffer(programs_, here, BufferKind::gradients, chunk, findings_);
        if (action(here).tensor.rounds == 0) add(fmt::format("{} sums nothing", name(here)));
        refuse_after(here, find(row_sums_, chunk));
        refuse_after(here, first_of(reductions_, chunk));
        refuse_after(here, update_);
        row_sums_.try_emplace(chunk, here);
    }

    void read_reduction(Place here) {
        if (!belongs(here, duty_.training)) return;
        const ChunkId chunk = action(here).chunk;
        require_chunk_buffer(programs_, here, BufferKind::gradients, chunk, findings_);
        read_bucket(here, BufferKind::gradients, reductions_);
        refuse_after(here, update_);
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
        for (const BufferId b : action(here).writes) {
            refuse_after(here, find(row_sums_, buffer(here, b).chunk));
            refuse_after(here, first_of(reductions_, buffer(here, b).chunk));
        }
        refuse_after(here, update_);
        last_sum_ = here;
    }

    const Programs& programs_;
    const Duty& duty_;
    StageId stage_;
    Findings& findings_;
    PlaceOfChunk forwards_, row_sums_;    // the first of each chunk
    PlacesOfChunk gathers_, reductions_;  // all, in order
    std::optional<Place> last_sum_, update_;
};

}  // namespace

Findings check_update(const Programs& programs, const Duty& duty) {
    Findings findings;
    for (const StageId stage : programs.ids()) UpdatePass(programs, duty, stage, findings).run();
    return findings;
}

}  // namespace smp::partition::passes
