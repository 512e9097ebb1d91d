#include "runtime/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/sum128.h"

namespace smp::runtime {

namespace {

std::string text_of(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream)
        throw DataError(
            fmt::format("\"{}\" is missing or cannot be read; without it there is no checkpoint", path.string()));
    return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

/// A file and which of its chunks have been found to be right.
struct Checkpoint::File {
    File(const std::filesystem::path& path, const PartFile& written) : part(written), tensors(path) {
        if (tensors.bytes().size() != part.bytes)
            throw DataError(fmt::format("\"{}\" has {} bytes, and the manifest says {}; it was cut or exchanged",
                                        path.string(), tensors.bytes().size(), part.bytes));
        for (const SafetensorsEntry& entry : tensors.entries()) entries.emplace(entry.name, &entry);
        is_right.assign(part.sums.size(), false);
    }

    std::span<const std::byte> chunk(std::size_t index) const {
        const std::uint64_t begin = index * part.chunk_bytes;
        return tensors.bytes().subspan(begin, std::min(part.chunk_bytes, part.bytes - begin));
    }
    bool holds(std::size_t index) {
        if (!is_right[index]) is_right[index] = sum128(chunk(index)) == part.sums[index];
        return is_right[index];
    }
    std::string fault(std::size_t index) const {
        return fmt::format("\"{}\" was changed after it was written: the sum of bytes {} to {} does not hold",
                           tensors.path().string(), index * part.chunk_bytes,
                           index * part.chunk_bytes + chunk(index).size() - 1);
    }
    /// Throws DataError unless the bytes, which lie in this file, are as they were written.
    void require(std::span<const std::byte> bytes) {
        if (bytes.empty()) return;
        const auto begin = static_cast<std::uint64_t>(bytes.data() - tensors.bytes().data());
        for (std::size_t i = begin / part.chunk_bytes; i <= (begin + bytes.size() - 1) / part.chunk_bytes; ++i)
            if (!holds(i)) throw DataError(fault(i));
    }

    const PartFile& part;
    SafetensorsFile tensors;
    std::map<std::string_view, const SafetensorsEntry*> entries;
    std::vector<bool> is_right;
};

/// Elements of a tensor that lie side by side in a file.
struct Checkpoint::Place {
    std::int64_t global = 0, count = 0;
    std::size_t file = 0;
    std::span<const std::byte> bytes;
};

Checkpoint::Checkpoint(std::filesystem::path folder)
    : folder_(std::move(folder)), manifest_(parse_manifest(text_of(folder_ / kManifest), folder_ / kManifest)) {
    files_.reserve(manifest_.files.size());
    for (const PartFile& part : manifest_.files) files_.emplace_back(folder_ / part.name, part);
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;

const std::vector<Checkpoint::Place>& Checkpoint::places_of(std::string_view tensor, StateKind kind) {
    std::pair<std::string, StateKind> key(tensor, kind);
    if (const auto known = places_.find(key); known != places_.end()) return known->second;
    std::vector<Place> places;
    for (std::size_t f = 0; f < files_.size(); ++f) {
        for (const Piece& piece : manifest_.files[f].pieces) {
            if (piece.tensor != tensor || piece.kind != kind) continue;
            const auto entry = files_[f].entries.find(piece.name);
            const auto runs = runs_of(piece);
            const std::int64_t elements = runs.empty() ? 0 : runs.back().place + runs.back().count;
            if (entry == files_[f].entries.end() || entry->second->dtype != SafetensorsType::F32 ||
                entry->second->elements() != elements)
                throw DataError(
                    fmt::format("\"{}\" has no {} of {} fp32 numbers, and the manifest says it has; it was "
                                "exchanged",
                                files_[f].tensors.path().string(), piece.name, elements));
            for (const ShardRun& run : runs)
                places.push_back(
                    {.global = run.global,
                     .count = run.count,
                     .file = f,
                     .bytes = entry->second->bytes.subspan(static_cast<std::size_t>(run.place) * sizeof(float),
                                                           static_cast<std::size_t>(run.count) * sizeof(float))});
        }
    }
    std::ranges::sort(places, {}, &Place::global);
    return places_.emplace(std::move(key), std::move(places)).first->second;
}

void Checkpoint::read(std::string_view tensor, StateKind kind, std::int64_t first, std::span<float> values) {
    const auto& places = places_of(tensor, kind);
    while (!values.empty()) {
        auto place = std::ranges::upper_bound(places, first, {}, &Place::global);
        const bool is_there = place != places.begin() && first < std::prev(place)->global + std::prev(place)->count;
        if (!is_there)
            throw DataError(fmt::format("\"{}\" has no {} of element {} of {}", folder_.string(),
                                        partition::word_of(kind), first, tensor));
        --place;
        const std::int64_t skipped = first - place->global;
        const auto count = std::min<std::size_t>(values.size(), static_cast<std::size_t>(place->count - skipped));
        const auto bytes =
            place->bytes.subspan(static_cast<std::size_t>(skipped) * sizeof(float), count * sizeof(float));
        files_[place->file].require(bytes);
        std::memcpy(values.data(), bytes.data(), bytes.size());
        values = values.subspan(count);
        first += static_cast<std::int64_t>(count);
    }
}

std::vector<std::string> Checkpoint::faults() {
    std::vector<std::string> found;
    for (File& file : files_)
        for (std::size_t i = 0; i < file.part.sums.size(); ++i)
            if (!file.holds(i)) found.push_back(file.fault(i));
    for (const auto& [tensor, shape] : manifest_.tensors) {
        std::int64_t elements = 1;
        for (const std::int64_t extent : shape) elements *= extent;
        for (const StateKind kind : {StateKind::weight, StateKind::first_moment, StateKind::second_moment}) {
            std::int64_t next = 0;
            for (const Place& place : places_of(tensor, kind)) {
                if (place.global != next) break;
                next += place.count;
            }
            if (next != elements)
                found.push_back(fmt::format("\"{}\" has no {} of element {} of {}, or has it twice", folder_.string(),
                                            partition::word_of(kind), next, tensor));
        }
    }
    return found;
}

}  // namespace smp::runtime
