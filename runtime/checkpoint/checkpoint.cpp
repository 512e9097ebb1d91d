#include "runtime/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/sum128.h"
#include "runtime/files/text_file.h"

namespace smp::runtime {

namespace {

std::string text_of(const std::filesystem::path& path) {
    if (auto text = read_text(path)) return *std::move(text);
    throw DataError(
        fmt::format("\"{}\" is missing or cannot be read; without it there is no checkpoint", path.string()));
}

}  // namespace

/// A file and which of its chunks have been found to be right.
struct Checkpoint::File {
    File(const std::filesystem::path& path, const PartFile& written) : part(written), tensors(opened(path, written)) {
        for (const SafetensorsEntry& entry : tensors.entries()) entries.emplace(entry.name, &entry);
        is_right.assign(part.sums.size(), false);
    }

    /// Says which bytes were changed where there is no header any more, too.
    static SafetensorsFile opened(const std::filesystem::path& path, const PartFile& part) {
        std::error_code missing;
        if (const auto size = std::filesystem::file_size(path, missing); !missing && size != part.bytes)
            throw DataError(fmt::format("\"{}\" has {} bytes, and the manifest says {}; it was cut or exchanged",
                                        path.string(), size, part.bytes));
        try {
            return SafetensorsFile(path);
        } catch (const DataError&) {
            if (missing) throw;
            const MappedFile file(path);
            for (std::size_t i = 0; i < part.sums.size() && file.size() == part.bytes; ++i)
                if (sum128(chunk_of(file.bytes(), part, i)) != part.sums[i]) throw DataError(fault_of(path, part, i));
            throw;
        }
    }
    static std::span<const std::byte> chunk_of(std::span<const std::byte> bytes, const PartFile& part,
                                               std::size_t index) {
        const std::uint64_t begin = index * part.chunk_bytes;
        return bytes.subspan(begin, std::min(part.chunk_bytes, part.bytes - begin));
    }
    static std::string fault_of(const std::filesystem::path& path, const PartFile& part, std::size_t index) {
        const std::uint64_t begin = index * part.chunk_bytes;
        return fmt::format("\"{}\" was changed after it was written: the sum of bytes {} to {} does not hold",
                           path.string(), begin, std::min(begin + part.chunk_bytes, part.bytes) - 1);
    }

    std::span<const std::byte> chunk(std::size_t index) const { return chunk_of(tensors.bytes(), part, index); }
    bool holds(std::size_t index) {
        if (!is_right[index]) is_right[index] = sum128(chunk(index)) == part.sums[index];
        return is_right[index];
    }
    std::string fault(std::size_t index) const { return fault_of(tensors.path(), part, index); }
    /// Throws DataError unless the bytes, which lie in this file, are as they were written. How many bytes it has read
    /// to know that.
    std::size_t require(std::span<const std::byte> bytes) {
        if (bytes.empty()) return 0;
        std::size_t read = 0;
        const auto begin = static_cast<std::uint64_t>(bytes.data() - tensors.bytes().data());
        for (std::size_t i = begin / part.chunk_bytes; i <= (begin + bytes.size() - 1) / part.chunk_bytes; ++i) {
            if (!is_right[i]) read += chunk(i).size();
            if (!holds(i)) throw DataError(fault(i));
        }
        return read;
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
            const std::int64_t elements = elements_of(piece);
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
        const std::size_t summed = files_[place->file].require(bytes);
        std::memcpy(values.data(), bytes.data(), bytes.size());
        let_go_after(bytes.size() + summed);
        values = values.subspan(count);
        first += static_cast<std::int64_t>(count);
    }
}

void Checkpoint::let_go_after(std::size_t bytes) {
    constexpr std::size_t kMost = std::size_t{1} << 26;
    read_ += bytes;
    if (read_ < kMost) return;
    for (const File& file : files_) file.tensors.let_go();
    read_ = 0;
}

void Checkpoint::read_all(std::string_view tensor, StateKind kind, std::int64_t first, std::int64_t count,
                          const std::function<void(std::span<const float>)>& take) {
    constexpr std::int64_t kPart = std::int64_t{1} << 18;
    std::vector<float> part;
    for (const std::int64_t end = first + count; first < end; first += std::ssize(part)) {
        part.resize(static_cast<std::size_t>(std::min(kPart, end - first)));
        read(tensor, kind, first, part);
        take(part);
    }
}

std::vector<std::string> Checkpoint::faults() {
    std::vector<std::string> found;
    for (File& file : files_)
        for (std::size_t i = 0; i < file.part.sums.size(); ++i)
            if (let_go_after(file.chunk(i).size()); !file.holds(i)) found.push_back(file.fault(i));
    if (!found.empty()) return found;  // what lies there is not what was written
    for (const auto& [tensor, shape] : manifest_.tensors) {
        const std::int64_t elements = elements_of(shape);
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
