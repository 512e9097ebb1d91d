#include "partition/schedule/precedence.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

namespace smp::partition {
namespace {

constexpr std::array<std::string_view, 4> kWords = {"F", "B", "BI", "BW"};

}  // namespace

std::string name_of(const Computation& computation) {
    return fmt::format("{} mb{} chunk{}", kWords.at(static_cast<std::size_t>(computation.kind)), computation.microbatch,
                       computation.chunk);
}

Precedence::Precedence(const ComputeOrders& orders, const Placement& placement, int microbatches)
    : chunks_(placement.chunks()),
      microbatches_(microbatches),
      positions_(3 * static_cast<std::size_t>(chunks_) * static_cast<std::size_t>(microbatches), -1),
      clocks_(orders.size()) {
    const auto stages = orders.size();
    for (const StageId stage : orders.ids()) {
        for (std::size_t i = 0; i < orders[stage].size(); ++i) {
            const Computation& step = orders[stage][i];
            int& position = positions_.at(index_of(step.kind, step.microbatch, step.chunk));
            if (placement.stage_of(step.chunk) != stage || position != -1) {
                throw std::logic_error(fmt::format("schedule: stage {} runs {} {}", stage, name_of(step),
                                                   position != -1 ? "twice" : "of another stage's chunk"));
            }
            position = static_cast<int>(i);
        }
    }

    // The chunk whose step of the same microbatch comes first, and that step's kind.
    const auto source_of = [&](const Computation& step) -> Computation {
        if (step.kind == ComputationKind::forward) return {ComputationKind::forward, step.microbatch, step.chunk - 1};
        if (step.kind == ComputationKind::backward_weight)
            return {ComputationKind::backward, step.microbatch, step.chunk};
        if (step.chunk < placement.last_chunk()) return {ComputationKind::backward, step.microbatch, step.chunk + 1};
        return {ComputationKind::forward, step.microbatch, step.chunk};
    };
    for (const StageId stage : orders.ids()) clocks_[stage].reserve(orders[stage].size() * stages);
    Table<StageId, std::size_t> next(stages, 0);  // step that each stage runs next
    std::vector<int> clock(stages);
    for (bool moved = true; moved;) {
        moved = false;
        for (const StageId stage : orders.ids()) {
            for (; next[stage] < orders[stage].size(); ++next[stage], moved = true) {
                const Computation source = source_of(orders[stage][next[stage]]);
                clock.assign(stages, 0);
                if (next[stage] > 0) {
                    const auto previous = clocks_[stage].end() - static_cast<std::ptrdiff_t>(stages);
                    std::copy(previous, clocks_[stage].end(), clock.begin());
                }
                if (source.chunk != kNone) {
                    const int position = position_of(source.kind, source.microbatch, source.chunk);
                    const StageId maker = placement.stage_of(source.chunk);
                    if (position < 0 || static_cast<std::size_t>(position) >= next[maker]) break;
                    const int* known = &clocks_[maker][static_cast<std::size_t>(position) * stages];
                    for (std::size_t other = 0; other < stages; ++other)
                        clock[other] = std::max(clock[other], known[other]);
                    clock[maker.index()] = std::max(clock[maker.index()], position + 1);
                }
                clock[stage.index()] = static_cast<int>(next[stage]);
                clocks_[stage].insert(clocks_[stage].end(), clock.begin(), clock.end());
            }
        }
    }
    for (const StageId stage : orders.ids()) {
        if (next[stage] == orders[stage].size()) continue;
        const Computation& stuck = orders[stage][next[stage]];
        throw std::logic_error(fmt::format("schedule: stage {} waits for ever in {} for {}", stage, name_of(stuck),
                                           name_of(source_of(stuck))));
    }
}

int Precedence::position_of(ComputationKind kind, MicrobatchId microbatch, ChunkId chunk) const {
    return positions_[index_of(kind, microbatch, chunk)];
}

int Precedence::completed_at(MicrobatchId microbatch, ChunkId chunk) const {
    const int weight_part = position_of(ComputationKind::backward_weight, microbatch, chunk);
    return weight_part >= 0 ? weight_part : position_of(ComputationKind::backward, microbatch, chunk);
}

int Precedence::ended_before(StageId stage, int position, StageId other) const {
    return clocks_[stage][static_cast<std::size_t>(position) * clocks_.size() + other.index()];
}

std::size_t Precedence::index_of(ComputationKind kind, MicrobatchId microbatch, ChunkId chunk) const {
    const bool is_backward = kind == ComputationKind::backward || kind == ComputationKind::backward_input;
    const bool is_weight = kind == ComputationKind::backward_weight;
    if ((kind != ComputationKind::forward && !is_backward && !is_weight) || microbatch == kNone ||
        microbatch >= MicrobatchId(microbatches_) || chunk == kNone || chunk >= ChunkId(chunks_)) {
        throw std::logic_error(fmt::format("schedule: no step {} in {} chunks and {} microbatches",
                                           name_of({kind, microbatch, chunk}), chunks_, microbatches_));
    }
    const std::size_t of_kind = is_weight ? 2 : is_backward ? 1 : 0;
    return (of_kind * static_cast<std::size_t>(chunks_) + chunk.index()) * static_cast<std::size_t>(microbatches_) +
           microbatch.index();
}

}  // namespace smp::partition
