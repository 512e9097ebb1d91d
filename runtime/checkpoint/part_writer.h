// Writes what one rank has of a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/checkpoint/manifest.h"
#include "runtime/files/safetensors.h"

namespace smp::runtime {

/// A piece and where its elements come from, in the order of runs_of(piece): asked once, when it is written, they may
/// come in parts of any size. `piece.name` is given by write_part.
struct PieceSource {
    Piece piece;
    std::function<void(const TakeBytes& take)> values;
};

/// What a sum is of: as much as is read and checked for one wanted byte.
inline constexpr std::uint64_t kChunkBytes = std::uint64_t{1} << 22;

/// A safetensors file of the pieces; one that is a whole tensor has its shape, the others have one dimension. On the
/// disk when it returns. `tensors`: the shapes of the model's. Throws DataError, and what the sources throw.
PartFile write_part(const std::filesystem::path& path, std::vector<PieceSource> pieces,
                    const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors);

}  // namespace smp::runtime
