#include "runtime/checkpoint/relaid.h"

#include <span>
#include <utility>

#include "partition/job/topology.h"
#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/checkpoint/pieces.h"
#include "runtime/files/output_folder.h"

namespace smp::runtime {

void write_checkpoint(const std::filesystem::path& folder, Manifest manifest,
                      std::vector<std::vector<PieceSource>> files) {
    OutputFolder output(folder, OutputFolder::Existing::keep);
    for (std::size_t rank = 0; rank < files.size(); ++rank)
        manifest.files.push_back(
            write_part(output.path() / part_name(static_cast<int>(rank)), std::move(files[rank]), manifest.tensors));
    write_manifest(output.path(), manifest);
    output.commit();
}

std::vector<std::vector<PieceSource>> relaid(Checkpoint& from, const partition::Plan& plan,
                                             const models::ModelSpec& model, partition::Precision precision) {
    std::vector<std::vector<PieceSource>> files;
    for (int rank = 0; rank < plan.topology.degrees.world(); ++rank) {
        files.emplace_back();
        for (const Shard& shard : written_shards(plan, model, precision, rank)) {
            const Piece piece = piece_of(shard);
            files.back().push_back({.piece = piece, .values = [&from, piece](const TakeBytes& take) {
                                        for (const ShardRun& run : runs_of(piece))
                                            from.read_all(
                                                piece.tensor, piece.kind, run.global, run.count,
                                                [&](std::span<const float> values) { take(std::as_bytes(values)); });
                                    }});
        }
    }
    return files;
}

}  // namespace smp::runtime
