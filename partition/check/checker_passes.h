// The passes of the checker, one source file each. A pass may rely on what the earlier ones have proven.
#pragma once

#include <string>
#include <vector>

#include "partition/check/checker.h"
#include "partition/check/machine.h"

namespace smp::partition::passes {

const Action& at(const Programs& programs, Place place);
const Buffer& buffer_of(const Programs& programs, Place place, BufferId id);

/// "stage 1 action 7 (B mb2 chunk1)"
std::string shown(const Programs& programs, Place place);

using Findings = std::vector<std::string>;

/// What stands around the programs, without which no pass over them can be run.
Findings check_frame(const Plan& plan);
/// That costs are costs.
Findings check_graph(const ModuleGraph& graph);
/// That the plan, whose frame is right, is one of these modules.
Findings check_model(const Plan& plan, const ModuleGraph& graph);

Findings check_form(const Programs& programs);
/// Whether the action's `list` (its reads, or its writes) has the buffer of this kind and chunk.
bool touches(const Programs& programs, Place here, const std::vector<BufferId>& list, BufferKind kind, ChunkId chunk);
/// The action reads and writes the buffer of this kind of one chunk, and of no other.
void require_chunk_buffer(const Programs& programs, Place here, BufferKind kind, ChunkId chunk, Findings& findings);

Findings check_compute(const Programs& programs, const Duty& duty);
Findings check_update(const Programs& programs, const Duty& duty);
/// In forward-only programs.
Findings check_boundaries(const Programs& programs, const Duty& duty);
Findings check_messages(const Programs& programs);
/// With one communicator an edge, as ranks have them, or with as few as one a channel.
Findings check_end(const Programs& programs, Communicators communicators = Communicators::one_an_edge);
Findings check_buffers(const Programs& programs);

}  // namespace smp::partition::passes
