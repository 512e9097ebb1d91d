// What a checkpoint is, as a value: manifest.json.
//
// A checkpoint is a folder `step_NNNNNNNN` with this manifest and safetensors files. Its guarantees:
//   - it is complete or not there: the folder gets its name after all of its bytes are on the disk;
//   - its state is canonical: the model's own tensors by their Hugging Face names (a weight in fp32, which is the
//   master
//     where training is in 16 bits, and AdamW's two moments), in pieces that cover each element exactly once. No rank,
//     padding, shard, chunk or tied copy shows in what can be read from it, so every layout can go on from it;
//   - with TrainingState it is all that a run has: going on gives the numbers that not stopping would have given;
//   - every byte stands under a sum; what is changed, torn, missing or exchanged is found when it is read, and named.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/slice.h"
#include "partition/job/words.h"
#include "runtime/state/flat_layout.h"
#include "runtime/state/holdings.h"
#include "runtime/state/training_state.h"

namespace smp::runtime {

enum class StateKind { weight, first_moment, second_moment };

/// Elements of a tensor that lie one behind the other in a file, fp32: those of the part `of_slice` of a slice, without
/// padding.
struct Piece {
    std::string name;    // of the tensor in the safetensors file
    std::string tensor;  // of the model
    StateKind kind = StateKind::weight;
    models::Slice slice;
    Range of_slice;

    bool operator==(const Piece&) const = default;
};

/// As a shard whose buffer has nothing but the piece. Ascending.
std::vector<ShardRun> runs_of(const Piece& piece);
std::int64_t elements_of(const Piece& piece);

struct PartFile {
    std::string name;  // in the folder of the checkpoint
    std::uint64_t bytes = 0;
    std::uint64_t chunk_bytes = 0;  // of each but the last of what `sums` are of
    std::vector<std::string> sums;  // XXH3-128
    std::vector<Piece> pieces;

    bool operator==(const PartFile&) const = default;
};

/// How the state came to be, one thing after another.
struct HistoryEntry {
    std::int64_t after = 0;                 // steps that had been done before it
    std::string by;                         // "training", "relayout", "import"
    std::string from;                       // where its state came from, as a path; empty: drawn
    std::string layout;                     // of the ranks, for a person; empty: none
    std::vector<std::string> changed = {};  // of the configuration since the entry before: "key: before -> now"

    bool operator==(const HistoryEntry&) const = default;
};

struct Manifest {
    TrainingState state;
    std::string plan;           // hash of the plan that trained it
    std::string configuration;  // lines "section.key=value", sorted: Job::canonical_text
    std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors;  // names and shapes in order of the model
    std::vector<PartFile> files;
    std::vector<HistoryEntry> history = {};  // the oldest first; none in what the first versions have written

    bool operator==(const Manifest&) const = default;
};

/// Of a tensor of this shape.
std::int64_t elements_of(const std::vector<std::int64_t>& shape);

inline constexpr std::string_view kManifest = "manifest.json";

/// With a sum over itself at its end.
std::string to_json(const Manifest& manifest);
/// Throws DataError, which begins with `path` in quotes, for text that is no whole manifest of a version known here, or
/// whose parts do not fit one another.
Manifest parse_manifest(std::string_view text, const std::filesystem::path& path);

/// What a rank tells of the file that it has written, to the one that writes the manifest. `run` must be the same on
/// both sides: it tells a part from one that an earlier attempt has left.
std::string to_json(const PartFile& file, std::string_view run);
PartFile parse_part(std::string_view text, std::string_view run, const std::filesystem::path& path);

}  // namespace smp::runtime

namespace smp::partition {

template <>
struct Words<runtime::StateKind> {
    static constexpr std::array<std::string_view, 3> list = {"weight", "first_moment", "second_moment"};
};

}  // namespace smp::partition
