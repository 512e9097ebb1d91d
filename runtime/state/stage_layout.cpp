#include "runtime/state/stage_layout.h"

namespace smp::runtime {

StageLayout stage_layout(const partition::Plan& plan, const models::ModelSpec& model, partition::Precision precision,
                         const partition::Coordinate& at) {
    const partition::Degrees& degrees = plan.topology.degrees;
    StageLayout layout;
    std::vector<std::vector<models::Parameter>> by_chunk;
    std::vector<partition::FlatSection> sections;
    for (const partition::ChunkId index : plan.chunks.ids()) {
        const partition::Chunk& chunk = plan.chunks[index];
        if (chunk.stage != at.stage()) continue;
        sections.push_back(plan.sections[index]);
        auto& of_chunk = by_chunk.emplace_back();
        for (int module = chunk.first_module; module < chunk.end_module; ++module) {
            const auto own = model.parameters(module, degrees.tp, at.tp);
            of_chunk.insert(of_chunk.end(), own.begin(), own.end());
            layout.modules.insert(layout.modules.end(), own.size(), module);
        }
        const auto first = static_cast<std::int64_t>(layout.parameters.size());
        layout.parameters.insert(layout.parameters.end(), of_chunk.begin(), of_chunk.end());
        layout.section_parameters.push_back({first, static_cast<std::int64_t>(layout.parameters.size())});
    }
    layout.flat = lay_out(by_chunk, degrees.rdp, sections, precision);
    return layout;
}

std::vector<Range> updated_ranges(const FlatLayout& flat, int replica, bool sharded) {
    return sharded ? flat.owned(replica) : std::vector<Range>{{0, flat.elements}};
}

std::vector<ParameterPart> parts_in(const FlatLayout& flat, std::span<const Range> ranges) {
    std::vector<ParameterPart> parts;
    for (int i = 0; i < static_cast<int>(flat.places.size()); ++i) {
        if (flat.partner[i] >= 0) continue;
        std::int64_t packed = 0;  // where the range begins
        for (const Range& range : ranges) {
            const Range part = intersection(flat.places[i], range);
            const std::int64_t begin = packed + part.begin - range.begin;
            if (part.size() > 0)
                parts.push_back({.parameter = i, .flat = part, .packed = {begin, begin + part.size()}});
            packed += range.size();
        }
    }
    return parts;
}

}  // namespace smp::runtime
