#include <algorithm>

#include <fmt/format.h>

#include "partition/check/checker_passes.h"
#include "partition/check/happens_before.h"

namespace smp::partition::passes {
namespace {

struct Access {
    ActionId position = {};
    bool writes = false;
    bool frees = false;
    bool is_scratch = false;
};

/// All accesses to each buffer, in list order; an action that writes and frees what it reads is one access.
Table<BufferId, std::vector<Access>> accesses_of(const RankProgram& program) {
    Table<BufferId, std::vector<Access>> accesses(program.buffers.size());
    for (const ActionId i : program.actions.ids()) {
        const auto access = [&](BufferId buffer) -> Access& {
            auto& list = accesses[buffer];
            if (list.empty() || list.back().position != i) list.push_back({.position = i});
            return list.back();
        };
        const Action& action = program.actions[i];
        for (const BufferId buffer : action.reads) access(buffer);
        for (const BufferId buffer : action.writes) access(buffer).writes = true;
        for (const BufferId buffer : action.consumes) access(buffer).frees = true;
        for (const BufferId buffer : action.scratch) access(buffer).is_scratch = true;
        for (const BufferId buffer : action.frees) access(buffer).frees = true;
    }
    return accesses;
}

class BufferPass {
  public:
    BufferPass(const Programs& programs, StageId stage, Findings& findings)
        : programs_(programs), stage_(stage), findings_(findings), order_(program()) {}

    void run() {
        const auto accesses = accesses_of(program());
        for (const BufferId b : accesses.ids()) {
            const Buffer& buffer = program().buffers[b];
            buffer_ = &buffer;
            if (std::any_of(accesses[b].begin(), accesses[b].end(), [](const Access& a) { return a.is_scratch; })) {
                check_scratch(accesses[b]);
            } else if (buffer.kind == BufferKind::gradients || buffer.kind == BufferKind::parameters) {
                check_lasting(accesses[b]);
            } else if (!accesses[b].empty()) {
                check_passing(accesses[b]);
            }
        }
    }

  private:
    const RankProgram& program() const { return programs_[stage_]; }
    std::string name(const Access& access) const { return shown(programs_, {stage_, access.position}); }
    std::string shown_buffer() const { return name_of(*buffer_); }
    void add(std::string finding) { findings_.push_back(std::move(finding)); }

    const Action& action(const Access& access) const { return program().actions[access.position]; }
    /// One of several collectives on a chunk, each of which touches elements of its own.
    bool is_of_bucket(const Access& access) const { return action(access).bucket != kNone; }

    /// Lives longer than the step: never freed, conflicting accesses ordered as listed, but for those of buckets.
    void check_lasting(const std::vector<Access>& accesses) {
        // The last write, or collectives on buckets, and what has come since; and the write before, likewise.
        std::size_t written = 0, written_end = 0, written_before = 0;
        bool in_buckets = false;
        for (std::size_t i = 0; i < accesses.size(); ++i) {
            const Access& later = accesses[i];
            if (later.frees) add(fmt::format("{} frees {}, which outlives the step", name(later), shown_buffer()));
            const bool joins = later.writes && is_of_bucket(later) && in_buckets;
            // A write against the write before and what has read that, a read against the write: all else is ordered
            // through these.
            const std::size_t first = joins ? written_before : written;
            const std::size_t end = joins ? written : later.writes ? i : written_end;
            for (std::size_t j = end; j-- > first;) {
                const Access& earlier = accesses[j];
                if ((earlier.writes || later.writes) && !order_.ends_before(earlier.position, later.position))
                    refuse_order(earlier, later);
            }
            if (!later.writes) {
                in_buckets = false;
            } else if (!joins) {
                written_before = written;
                written = i;
                in_buckets = is_of_bucket(later);
            }
            if (later.writes) written_end = i + 1;
        }
    }

    /// One action after another has it to itself.
    void check_scratch(const std::vector<Access>& accesses) {
        for (std::size_t i = 0; i < accesses.size(); ++i) {
            const Access& access = accesses[i];
            if (!access.is_scratch || access.writes || access.frees)
                add(fmt::format("{} uses {}, which is scratch elsewhere", name(access), shown_buffer()));
            if (i > 0 && !order_.ends_before(accesses[i - 1].position, access.position) &&
                !are_kept_apart(accesses[i - 1], access))
                refuse_order(accesses[i - 1], access);
        }
    }

    /// Collectives of which one has ended before the other begins, since no more are under way at once.
    bool are_kept_apart(const Access& earlier, const Access& later) const {
        if (action(earlier).channel != Channel::data || action(later).channel != Channel::data) return false;
        int between = 0;
        for (ActionId i = earlier.position + 1; i < later.position; ++i)
            if (program().actions[i].channel == Channel::data) ++between;
        return between + 1 >= kDataCollectivesAtOnce;
    }

    /// Written once, read only then, freed once, at last.
    void check_passing(const std::vector<Access>& accesses) {
        const auto written = std::find_if(accesses.begin(), accesses.end(), [](const Access& a) { return a.writes; });
        const auto freed = std::find_if(accesses.begin(), accesses.end(), [](const Access& a) { return a.frees; });
        if (written == accesses.end()) {
            add(fmt::format("{} uses {} on stage {}, which no action writes; {} is the last to use it",
                            name(accesses.front()), shown_buffer(), stage_, name(accesses.back())));
            return;
        }
        if (freed == accesses.end()) {
            add(fmt::format("{} on stage {}, written by {}, is never freed; {} is the last to use it", shown_buffer(),
                            stage_, name(*written), name(accesses.back())));
        }
        for (const Access& access : accesses) {
            if (&access == &*written) continue;
            if (access.writes) {
                add(fmt::format("{} writes {} on stage {} again after {}", name(access), shown_buffer(), stage_,
                                name(*written)));
            } else if (!order_.ends_before(written->position, access.position)) {
                refuse_order(*written, access);
            }
            if (freed == accesses.end() || &access == &*freed) continue;
            if (access.frees) {
                add(fmt::format("{} frees {} on stage {} again after {}", name(access), shown_buffer(), stage_,
                                name(*freed)));
            } else if (!order_.ends_before(access.position, freed->position)) {
                add(fmt::format("{} may still use {} on stage {} when {} frees it", name(access), shown_buffer(),
                                stage_, name(*freed)));
            }
        }
    }

    void refuse_order(const Access& earlier, const Access& later) {
        const bool listed_so = earlier.position < later.position;
        add(listed_so ? fmt::format("{} may {} {} on stage {} before {} has ended: no event orders them", name(later),
                                    later.writes ? "write" : "use", shown_buffer(), stage_, name(earlier))
                      : fmt::format("{} uses {} on stage {} before {} writes it", name(later), shown_buffer(), stage_,
                                    name(earlier)));
    }

    const Programs& programs_;
    StageId stage_;
    Findings& findings_;
    HappensBefore order_;
    const Buffer* buffer_ = nullptr;  // the one that is looked at
};

}  // namespace

Findings check_buffers(const Programs& programs) {
    Findings findings;
    for (const StageId stage : programs.ids()) BufferPass(programs, stage, findings).run();
    return findings;
}

}  // namespace smp::partition::passes
