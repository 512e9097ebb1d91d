#include "partition/plan/action.h"

#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

namespace smp::partition {
namespace {

std::string with_place(std::string text, MicrobatchId microbatch, ChunkId chunk, GroupId group) {
    if (microbatch != kNone) text += fmt::format(" mb{}", microbatch);
    if (chunk != kNone) text += fmt::format(" chunk{}", chunk);
    if (group != kNone) text += fmt::format(" group{}", group);
    return text;
}

void append(std::string& line, std::string_view verb, const RankProgram& program,
            const std::vector<BufferId>& buffers) {
    if (buffers.empty()) return;
    line += fmt::format("; {} ", verb);
    for (std::size_t i = 0; i < buffers.size(); ++i) {
        if (i > 0) line += ", ";
        line += program.buffers.has(buffers[i]) ? name_of(program.buffers[buffers[i]])
                                                : fmt::format("buffer {} (not there)", buffers[i]);
    }
}

}  // namespace

std::string name_of(const Action& action) {
    std::string name = word_of(action.kind);
    const bool is_message = facts_of(action.kind).is_message();
    if (is_message) name += fmt::format(" {}", word_of(action.channel));
    name = with_place(std::move(name), action.microbatch, action.chunk, action.group);
    if (action.bucket != kNone) name += fmt::format(" bucket{}", action.bucket);
    if (is_message) name += fmt::format(" {} stage {}", action.kind == ActionKind::send ? "->" : "<-", action.peer);
    return name;
}

std::string name_of(const Buffer& buffer) {
    std::string name = with_place(word_of(buffer.kind), buffer.microbatch, buffer.chunk, buffer.group);
    if (buffer.shared >= 0) name += fmt::format(" shared{}", buffer.shared);
    if (buffer.module >= 0) name += fmt::format(" module{}", buffer.module);
    return name;
}

std::string describe(const RankProgram& program, const Action& action) {
    std::string line = name_of(action);
    if (action.bytes > 0) line += fmt::format(", {} bytes", action.bytes);
    if (action.tensor.rounds > 0)
        line += fmt::format("; {} rounds of {} bytes with the tensor group", action.tensor.rounds, action.tensor.bytes);
    if (!action.waits.empty()) {
        line += "; waits";
        for (const EventId event : action.waits) line += fmt::format(" e{}", event);
    }
    append(line, "reads", program, action.reads);
    append(line, "writes", program, action.writes);
    append(line, "consumes", program, action.consumes);
    append(line, "scratch", program, action.scratch);
    append(line, "frees", program, action.frees);
    if (action.growth_bytes > 0) line += fmt::format("; takes {} bytes more at most", action.growth_bytes);
    if (action.signals != kNone) line += fmt::format("; signals e{}", action.signals);
    return line;
}

}  // namespace smp::partition
