#include "partition/foresight/memory_peaks.h"

#include <algorithm>
#include <numeric>

namespace smp::partition {
namespace {

/// A gradient of a shared parameter that is no view into `gradients`: that of any copy on the stage but the first.
bool is_second_copy(const RankProgram& program, const Buffer& buffer) {
    return buffer.kind == BufferKind::tied_gradient &&
           std::any_of(program.buffers.begin(), program.buffers.end(), [&](const Buffer& other) {
               return other.kind == BufferKind::tied_gradient && other.shared == buffer.shared &&
                      other.module < buffer.module;
           });
}

/// What is there throughout the step.
MemoryBytes lasting_bytes(const RankProgram& program) {
    MemoryBytes bytes = {};
    for (const Buffer& buffer : program.buffers) {
        const bool lasts = buffer.kind == BufferKind::parameters || buffer.kind == BufferKind::gradients ||
                           buffer.kind == BufferKind::reduction_scratch;
        if (lasts || is_second_copy(program, buffer))
            bytes[static_cast<std::size_t>(category_of(buffer))] += buffer.bytes;
    }
    return bytes;
}

bool is_posted(const Action& action) { return facts_of(action.kind).is_posted(); }

/// For each posted action the first one that waits for it; itself where none does.
Table<ActionId, ActionId> first_waiters(const RankProgram& program) {
    Table<ActionId, ActionId> waiters(program.actions.size());
    Table<EventId, ActionId> signaller(static_cast<std::size_t>(program.events));
    for (const ActionId i : program.actions.ids()) {
        waiters[i] = i;
        if (program.actions[i].signals != kNone) signaller[program.actions[i].signals] = i;
    }
    for (const ActionId i : program.actions.ids()) {
        for (const EventId event : program.actions[i].waits) {
            ActionId& waiter = waiters[signaller[event]];
            if (waiter == signaller[event]) waiter = i;
        }
    }
    return waiters;
}

/// Bytes by category, and their peaks.
class Account {
  public:
    explicit Account(const RankProgram& program) : program_(program), live_(lasting_bytes(program)) { note(0); }

    void add(const std::vector<BufferId>& buffers, int sign) {
        for (const BufferId id : buffers) {
            const Buffer& buffer = program_.buffers[id];
            if (!is_passing(buffer)) continue;
            const MemoryCategory category = category_of(buffer);
            live_[static_cast<std::size_t>(category)] += sign * buffer.bytes;
            if (category != MemoryCategory::offloaded) device_ += sign * buffer.bytes;
        }
    }
    std::int64_t device() const { return device_; }
    /// What is alive now counts, on the device `device` bytes of it.
    void note(std::int64_t device) {
        for (std::size_t c = 0; c < kMemoryCategories; ++c)
            peaks_.of_category[c] = std::max(peaks_.of_category[c], live_[c]);
        peaks_.device = std::max(peaks_.device, device);
    }
    MemoryPeaks peaks() const {
        MemoryPeaks all = peaks_;
        all.lasting = lasting_bytes(program_);
        all.device += std::accumulate(all.lasting.begin(), all.lasting.end(), std::int64_t{0});
        return all;
    }

  private:
    const RankProgram& program_;
    MemoryBytes live_;
    std::int64_t device_ = 0;  // beside what lasts
    MemoryPeaks peaks_;
};

}  // namespace

MemoryPeaks memory_peaks(const RankProgram& program) {
    const Table<ActionId, ActionId> waiters = first_waiters(program);
    Table<ActionId, std::vector<ActionId>> waited_for(program.actions.size());
    for (const ActionId i : waiters.ids())
        if (waiters[i] != i) waited_for[waiters[i]].push_back(i);
    Account account(program);
    for (const ActionId i : program.actions.ids()) {
        const Action& action = program.actions[i];
        for (const ActionId ended : waited_for[i]) {
            if (!is_posted(program.actions[ended])) continue;
            account.add(program.actions[ended].frees, -1);
        }
        const std::int64_t before = account.device();
        if (is_posted(action)) {
            account.add(action.writes, 1);
            account.note(account.device());
            continue;
        }
        account.add(action.scratch, 1);
        account.note(before + action.growth_bytes);
        account.add(action.consumes, -1);
        account.add(action.writes, 1);
        account.note(before + action.growth_bytes);
        account.add(action.scratch, -1);
        account.add(action.frees, -1);
    }
    return account.peaks();
}

}  // namespace smp::partition
