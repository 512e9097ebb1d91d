#include "runtime/files/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/files/binary_format.h"
#include "runtime/files/data_error.h"
#include "runtime/files/safetensors_header.h"

namespace smp::runtime {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and read without conversion");

using Json = nlohmann::json;
using safetensors::for_each_member;
using safetensors::kConvert;
using safetensors::kLengthBytes;
using safetensors::kLongestHeader;
using safetensors::kMetadata;
using safetensors::shown;
using safetensors::size_of;

struct TypeFacts {
    std::string_view name;
    std::size_t bytes;
};
// In the order of the enumeration.
constexpr std::array<TypeFacts, 15> kTypes = {{{"BOOL", 1},
                                               {"U8", 1},
                                               {"I8", 1},
                                               {"F8_E4M3", 1},
                                               {"F8_E5M2", 1},
                                               {"U16", 2},
                                               {"I16", 2},
                                               {"F16", 2},
                                               {"BF16", 2},
                                               {"U32", 4},
                                               {"I32", 4},
                                               {"F32", 4},
                                               {"U64", 8},
                                               {"I64", 8},
                                               {"F64", 8}}};

std::optional<std::uint64_t> unsigned_integer(const Json& value) {
    if (!value.is_number_unsigned()) return std::nullopt;
    return value.get<std::uint64_t>();
}

struct PlacedEntry {
    SafetensorsEntry entry;
    std::uint64_t begin, end;  // from the first tensor's first byte
};

PlacedEntry entry_from(const std::string& file, const std::string& tensor, const Json& facts) {
    const auto refuse = [&](std::string_view what) {
        return DataError(
            fmt::format("\"{}\": tensor \"{}\" {}; the header is damaged or of a newer format: write the file again.",
                        file, tensor, what));
    };
    if (!facts.is_object() || facts.size() != 3 || !facts.contains("dtype") || !facts.contains("shape") ||
        !facts.contains("data_offsets")) {
        throw refuse(fmt::format("is described by {}, which are not just dtype, shape and data_offsets", shown(facts)));
    }
    PlacedEntry placed{
        .entry = {.name = tensor, .dtype = {}, .shape = {}, .bytes = {}, .dtype_name = {}}, .begin = 0, .end = 0};

    const Json& dtype = facts["dtype"];
    const auto* const known = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeFacts& type) {
        return dtype.is_string() && dtype.get_ref<const std::string&>() == type.name;
    });
    if (!dtype.is_string()) throw refuse(fmt::format("has dtype {}, which is no name of one", shown(dtype)));
    // One that is unknown here does no harm until somebody needs the tensor.
    placed.entry.dtype =
        known == kTypes.end() ? SafetensorsType::other : static_cast<SafetensorsType>(known - kTypes.begin());
    placed.entry.dtype_name = dtype.get<std::string>();

    const Json& shape = facts["shape"];
    for (const Json& extent : shape.is_array() ? shape : Json::array({nullptr})) {
        const std::optional<std::uint64_t> value = unsigned_integer(extent);
        if (!value || *value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
            throw refuse(fmt::format("has shape {}, which is no list of sizes", shown(shape)));
        }
        placed.entry.shape.push_back(static_cast<std::int64_t>(*value));
    }
    const Json& offsets = facts["data_offsets"];
    const bool pair = offsets.is_array() && offsets.size() == 2;
    const std::optional<std::uint64_t> begin = pair ? unsigned_integer(offsets[0]) : std::nullopt;
    const std::optional<std::uint64_t> end = pair ? unsigned_integer(offsets[1]) : std::nullopt;
    if (!begin || !end || *begin > *end)
        throw refuse(fmt::format("has data_offsets {}, which are no begin and end", shown(offsets)));
    placed.begin = *begin;
    placed.end = *end;
    if (placed.entry.dtype == SafetensorsType::other) {
        if (!size_of(SafetensorsType::U8, placed.entry.shape))
            throw refuse(fmt::format("has shape {}, which is more than a file can hold", shown(shape)));
        return placed;
    }
    if (const std::optional<std::uint64_t> size = size_of(placed.entry.dtype, placed.entry.shape);
        size != placed.end - placed.begin) {
        throw refuse(fmt::format("has {} bytes (data_offsets {}), but {} of shape {} takes {}",
                                 placed.end - placed.begin, shown(offsets), name(placed.entry.dtype), shown(shape),
                                 size ? std::to_string(*size) : "more than a file can hold"));
    }
    return placed;
}

/// What a file is that is no safetensors file.
[[noreturn]] void refuse_other_format(const std::filesystem::path& path, std::span<const std::byte> bytes,
                                      std::uint64_t length) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (path.extension() == ".json" || text.substr(0, 1) == "{")
        throw DataError(
            fmt::format("\"{}\" is JSON text and holds no weights; name the folder that it lies in, or a "
                        ".safetensors file.",
                        path.string()));
    if (const auto known = binary_format(bytes); known && known->name.find("safetensors") == known->name.npos)
        throw DataError(
            fmt::format("\"{}\" is {}, where a safetensors file is needed; {}.", path.string(), known->name, kConvert));
    throw DataError(
        fmt::format("\"{}\" begins with {} where a safetensors file has the length of its header, at most {}; it is "
                    "damaged or of another format: {}.",
                    path.string(), length, kLongestHeader, kConvert));
}

std::string_view header_of(const MappedFile& file) {
    const std::string path = file.path().string();
    if (file.path().extension() == ".json") refuse_other_format(path, file.bytes(), 0);
    if (file.size() < kLengthBytes) {
        throw DataError(fmt::format("\"{}\" is {} bytes long, too short for a safetensors file; copy it again.", path,
                                    file.size()));
    }
    std::uint64_t length = 0;
    std::memcpy(&length, file.bytes().data(), kLengthBytes);
    if (length > kLongestHeader) refuse_other_format(path, file.bytes(), length);
    if (length > file.size() - kLengthBytes) {
        throw DataError(
            fmt::format("\"{}\" is {} bytes long, but its header alone takes {}; it is truncated: copy it again.", path,
                        file.size(), kLengthBytes + length));
    }
    return {reinterpret_cast<const char*>(file.bytes().data()) + kLengthBytes, static_cast<std::size_t>(length)};
}

}  // namespace

std::string_view name(SafetensorsType type) {
    return type == SafetensorsType::other ? "?" : kTypes.at(static_cast<std::size_t>(type)).name;
}
std::size_t bytes_of(SafetensorsType type) { return kTypes.at(static_cast<std::size_t>(type)).bytes; }

std::int64_t SafetensorsEntry::elements() const {
    if (dtype != SafetensorsType::other) return static_cast<std::int64_t>(bytes.size() / bytes_of(dtype));
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
    const std::string file = path.string();
    const std::string_view text = header_of(file_);
    std::vector<PlacedEntry> placed;
    for_each_member(file, text, kLengthBytes, [&](const std::string& key, const Json& facts) {
        if (key != kMetadata) {
            placed.push_back(entry_from(file, key, facts));
            return;
        }
        for (const auto& [name, value] : facts.items()) {
            if (!facts.is_object() || !value.is_string()) {
                throw DataError(
                    fmt::format("\"{}\" has {} that are not all text; write the file again.", file, kMetadata));
            }
            metadata_[name] = value.get<std::string>();
        }
    });
    std::sort(placed.begin(), placed.end(), [](const PlacedEntry& a, const PlacedEntry& b) {
        return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    const std::uint64_t front = kLengthBytes + text.size();
    const std::uint64_t size = file_.size() - front;
    std::uint64_t end = 0;
    for (PlacedEntry& tensor : placed) {
        if (tensor.begin != end) {
            throw DataError(
                fmt::format("\"{}\": tensor \"{}\" begins at byte {} of the data where the one before ends at {}; the "
                            "header is damaged: "
                            "write the file again.",
                            file, tensor.entry.name, tensor.begin, end));
        }
        end = tensor.end;
        if (end > size) {
            throw DataError(fmt::format(
                "\"{}\" is {} bytes long, but tensor \"{}\" ends at byte {}; it is truncated: copy it again.", file,
                file_.size(), tensor.entry.name, front + end));
        }
        tensor.entry.bytes = file_.bytes().subspan(front + tensor.begin, end - tensor.begin);
        entries_.push_back(std::move(tensor.entry));
    }
    if (end != size) {
        throw DataError(
            fmt::format("\"{}\" has {} bytes behind its last tensor, from byte {} on; it is damaged: copy it again.",
                        file, size - end, front + end));
    }
    file_.require_whole();
}

}  // namespace smp::runtime
