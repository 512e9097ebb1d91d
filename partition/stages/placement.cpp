#include "partition/stages/placement.h"

#include <stdexcept>

#include <fmt/format.h>

namespace smp::partition {

Placement::Placement(int stages, Table<ChunkId, StageId> stage_of)
    : stage_of_(std::move(stage_of)), chunks_of_(static_cast<std::size_t>(stages)) {
    for (const ChunkId chunk : stage_of_.ids()) {
        const StageId stage = stage_of_[chunk];
        if (!chunks_of_.has(stage))
            throw std::logic_error(fmt::format("placement: chunk {} on stage {} of {}", chunk, stage, stages));
        own_index_.push_back(static_cast<int>(chunks_of_[stage].size()));
        chunks_of_[stage].push_back(chunk);
    }
}

Placement in_turn(int stages, int chunks_per_stage) {
    Table<ChunkId, StageId> stage_of;
    for (int round = 0; round < chunks_per_stage; ++round) {
        for (const StageId stage : first_ids<StageId>(stages)) stage_of.push_back(stage);
    }
    return {stages, std::move(stage_of)};
}

}  // namespace smp::partition
