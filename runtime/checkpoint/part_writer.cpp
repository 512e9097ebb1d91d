#include "runtime/checkpoint/part_writer.h"

#include <algorithm>
#include <map>
#include <span>

#include <fmt/format.h>

#include "runtime/files/sum128.h"

namespace smp::runtime {

namespace {

/// Sums of the chunks of a file whose bytes come one after another.
class ChunkSums {
  public:
    void add(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto piece = bytes.first(std::min<std::uint64_t>(bytes.size(), kChunkBytes - filled_));
            sum_.update(piece);
            filled_ += piece.size();
            bytes_ += piece.size();
            bytes = bytes.subspan(piece.size());
            if (filled_ == kChunkBytes) close();
        }
    }
    std::vector<std::string> take() {
        if (filled_ > 0) close();
        return std::move(sums_);
    }
    std::uint64_t bytes() const { return bytes_; }

  private:
    void close() {
        sums_.push_back(sum_.take());
        filled_ = 0;
    }

    Sum128 sum_;
    std::uint64_t filled_ = 0, bytes_ = 0;
    std::vector<std::string> sums_;
};

}  // namespace

PartFile write_part(const std::filesystem::path& path, std::vector<PieceSource> pieces,
                    const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors) {
    const std::map<std::string, std::vector<std::int64_t>> shapes(tensors.begin(), tensors.end());
    PartFile file{.name = path.filename().string(), .bytes = 0, .chunk_bytes = kChunkBytes, .sums = {}, .pieces = {}};
    std::vector<SafetensorsSource> tensors_of_file;
    std::map<std::string, int> parts;  // of each tensor and kind
    for (auto& [piece, values] : pieces) {
        const std::string kind = partition::word_of(piece.kind);
        const std::int64_t elements = elements_of(piece);
        const bool is_whole = elements == piece.slice.global_numel();
        piece.name = fmt::format("{}.{}", piece.tensor, kind);
        if (!is_whole) piece.name += fmt::format(".{}", parts[piece.name]++);
        tensors_of_file.push_back({.name = piece.name,
                                   .shape = is_whole ? shapes.at(piece.tensor) : std::vector<std::int64_t>{elements},
                                   .bytes = std::move(values)});
        file.pieces.push_back(piece);
    }
    ChunkSums sums;
    stream_safetensors(path, tensors_of_file, {{"format", "pt"}, {"written_by", "smp"}},
                       [&](std::span<const std::byte> bytes) { sums.add(bytes); });
    file.bytes = sums.bytes();
    file.sums = sums.take();
    return file;
}

}  // namespace smp::runtime
