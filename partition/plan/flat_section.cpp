#include "partition/plan/flat_section.h"

#include <algorithm>

#include "partition/job/flat_padding.h"

namespace smp::partition {
namespace {

bool is_on_stage(const Chunks& chunks, StageId stage, int module) {
    return std::any_of(chunks.begin(), chunks.end(),
                       [&](const Chunk& chunk) { return chunk.stage == stage && chunk.holds(module); });
}

}  // namespace

std::int64_t FlatSection::elements_of(BucketId bucket) const {
    return bucket == kNone ? elements : std::min(bucket_elements, elements - begin_of(bucket));
}

std::int64_t section_elements(const ModuleGraph& graph, const Chunks& chunks, ChunkId chunk, int replicas) {
    std::int64_t count = 0;
    for (int m = chunks[chunk].first_module; m < chunks[chunk].end_module; ++m) {
        const Module& module = graph.modules[static_cast<std::size_t>(m)];
        count += module.parameter_count + module.padding_elements;
        for (const SharedParameter& shared : graph.shared) {
            const auto own = std::find(shared.modules.begin(), shared.modules.end(), m);
            const auto is_here = [&](int other) { return is_on_stage(chunks, chunks[chunk].stage, other); };
            if (own != shared.modules.end() && std::any_of(shared.modules.begin(), own, is_here))
                count -= shared.parameter_count + shared.padding_elements;
        }
    }
    return round_up(count, flat_multiple(graph.precision, replicas));
}

Table<ChunkId, FlatSection> flat_sections(const ModuleGraph& graph, const Chunks& chunks, int replicas) {
    const std::int64_t bucket = round_up(kBucketElements, flat_multiple(graph.precision, replicas));
    Table<ChunkId, FlatSection> sections;
    for (const ChunkId chunk : chunks.ids()) {
        const std::int64_t elements = section_elements(graph, chunks, chunk, replicas);
        const bool is_cut = replicas > 1 && elements > bucket;
        sections.push_back({.elements = elements, .bucket_elements = is_cut ? bucket : 0});
    }
    return sections;
}

}  // namespace smp::partition
