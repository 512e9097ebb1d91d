// The passes of the checker, one source file each. A pass may rely on what the earlier ones have proven.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "partition/check/checker.h"

namespace smp::partition::passes {

const Action& at(const std::vector<RankProgram>& programs, Place place);
const Buffer& buffer_of(const std::vector<RankProgram>& programs, Place place, int id);

/// "stage 1 action 7 (B mb2 chunk1)"
std::string shown(const std::vector<RankProgram>& programs, Place place);

/// The messages of one ordered pair of stages on one channel, as each side posts them: the n-th send meets the n-th
/// receive.
struct Pairing {
    std::vector<Place> sends, receives;
};

/// By (sending stage, receiving stage, channel).
std::map<std::tuple<int, int, Channel>, Pairing> pairings_of(const std::vector<RankProgram>& programs);

using Findings = std::vector<std::string>;

Findings check_form(const std::vector<RankProgram>& programs);
/// Whether the action's `list` (its reads, or its writes) has the buffer of this kind and chunk.
bool touches(const std::vector<RankProgram>& programs, Place here, const std::vector<int>& list, BufferKind kind,
             int chunk);
/// The action reads and writes the buffer of this kind of one chunk, and of no other.
void require_chunk_buffer(const std::vector<RankProgram>& programs, Place here, BufferKind kind, int chunk,
                          Findings& findings);

Findings check_compute(const std::vector<RankProgram>& programs, const Duty& duty);
Findings check_update(const std::vector<RankProgram>& programs, const Duty& duty);
Findings check_messages(const std::vector<RankProgram>& programs);
Findings check_end(const std::vector<RankProgram>& programs);
Findings check_buffers(const std::vector<RankProgram>& programs);

}  // namespace smp::partition::passes
