#include "runtime/checkpoint/manifest.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "partition/job/fields.h"
#include "runtime/files/data_error.h"
#include "runtime/files/sum128.h"

namespace smp::runtime {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kFormat = 1;
constexpr int kDeepest = 8;
constexpr std::int64_t kMostElements = std::int64_t{1} << 48;  // of a tensor: products of sizes stay inside 63 bits
constexpr std::int64_t kMostRuns = std::int64_t{1} << 28;      // of a slice

std::string with_sum(const Json& object) {
    std::string text = object.dump(1, '\t');
    text.resize(text.rfind('}') - 1);  // the line break before it, too
    const std::string sum = sum128(std::as_bytes(std::span(text)));
    return fmt::format("{},\n\t\"sum\": \"{}\"\n}}\n", text, sum);
}

/// Reads members of JSON objects and says where something else is than expected.
class Reader {
  public:
    explicit Reader(const std::filesystem::path& path) : path_(path) {}

    [[noreturn]] void refuse(const std::string& what) const {
        throw DataError(
            fmt::format("\"{}\" {}; it is not what this program writes: use another checkpoint", path_.string(), what));
    }

    /// The object that a text with a sum at its end is.
    Json object(std::string_view text) const {
        constexpr std::size_t kSumDigits = 32;
        constexpr std::string_view kBefore = ",\n\t\"sum\": \"", kAfter = "\"\n}\n";
        const std::size_t tail = kBefore.size() + kSumDigits + kAfter.size();
        if (text.size() < tail || !text.ends_with(kAfter) || text.substr(text.size() - tail, kBefore.size()) != kBefore)
            refuse("does not end with its sum");
        const std::string_view summed = text.substr(0, text.size() - tail);
        if (text.substr(summed.size() + kBefore.size(), kSumDigits) != sum128(std::as_bytes(std::span(summed))))
            refuse("was changed after it was written: its sum does not hold");
        try {
            return Json::parse(text, [&](int depth, Json::parse_event_t, const Json&) {
                if (depth > kDeepest) refuse("nests too deeply");
                return true;
            });
        } catch (const Json::exception& error) {
            refuse(fmt::format("is no JSON ({})", error.what()));
        }
    }

    const Json& member(const Json& object, const char* key) const {
        if (!object.is_object() || !object.contains(key)) refuse(fmt::format("has no \"{}\"", key));
        return object[key];
    }
    const Json& array(const Json& object, const char* key) const {
        const Json& value = member(object, key);
        if (!value.is_array()) refuse(fmt::format("has no list as \"{}\"", key));
        return value;
    }
    std::int64_t number(const Json& value, const char* key, std::int64_t least = 0,
                        std::int64_t most = std::numeric_limits<std::int64_t>::max()) const {
        const bool fits =
            value.is_number_unsigned()
                ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most) && value.get<std::int64_t>() >= least
                : value.is_number_integer() && value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
        if (!fits) refuse(fmt::format("has {} as \"{}\", where {} to {} are allowed", shown(value), key, least, most));
        return value.get<std::int64_t>();
    }
    std::int64_t number_in(const Json& object, const char* key, std::int64_t least = 0,
                           std::int64_t most = std::numeric_limits<std::int64_t>::max()) const {
        return number(member(object, key), key, least, most);
    }
    std::string text_in(const Json& object, const char* key) const {
        const Json& value = member(object, key);
        if (!value.is_string()) refuse(fmt::format("has {} as \"{}\", which is no text", shown(value), key));
        return value.get<std::string>();
    }

  private:
    static std::string shown(const Json& value) {
        return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60);
    }

    const std::filesystem::path& path_;
};

// TrainingState -------------------------------------------------------------------------------------------------------

// A member that were left out here would be lost without a word.
static_assert(partition::member_count<TrainingState>() == 6 && partition::member_count<LossScale>() == 4);

Json to_object(const TrainingState& state) {
    Json object = {{"steps", state.steps},
                   {"updates", state.updates},
                   {"skipped_in_a_row", state.skipped_in_a_row},
                   {"samples", state.samples},
                   {"tokens", state.tokens}};
    if (state.loss_scale)
        object["loss_scale"] = {{"scale", state.loss_scale->scale},
                                {"good_steps", state.loss_scale->good_steps},
                                {"forgiven", state.loss_scale->forgiven},
                                {"at_minimum", state.loss_scale->at_minimum}};
    return object;
}

TrainingState state_of(const Reader& reader, const Json& object) {
    TrainingState state{.steps = reader.number_in(object, "steps"),
                        .updates = reader.number_in(object, "updates"),
                        .skipped_in_a_row = reader.number_in(object, "skipped_in_a_row"),
                        .samples = reader.number_in(object, "samples"),
                        .tokens = reader.number_in(object, "tokens"),
                        .loss_scale = std::nullopt};
    if (state.updates > state.steps || state.skipped_in_a_row > state.steps - state.updates)
        reader.refuse("has more updates than steps");
    if (!object.contains("loss_scale")) return state;
    const Json& scale = object["loss_scale"];
    state.loss_scale = LossScale{.scale = reader.number_in(scale, "scale", 1, LossScaleOptions::kMost),
                                 .good_steps = reader.number_in(scale, "good_steps"),
                                 .forgiven = reader.number_in(scale, "forgiven"),
                                 .at_minimum = reader.number_in(scale, "at_minimum")};
    return state;
}

// Files ---------------------------------------------------------------------------------------------------------------

Json to_object(const PartFile& file) {
    Json pieces = Json::array();
    for (const Piece& piece : file.pieces) {
        const models::Slice& slice = piece.slice;
        pieces.push_back({{"name", piece.name},
                          {"tensor", piece.tensor},
                          {"kind", partition::word_of(piece.kind)},
                          {"slice", {slice.outer, slice.parts, slice.extent, slice.inner, slice.begin, slice.end}},
                          {"range", {piece.of_slice.begin, piece.of_slice.end}}});
    }
    return {{"name", file.name},
            {"bytes", file.bytes},
            {"chunk_bytes", file.chunk_bytes},
            {"sums", file.sums},
            {"pieces", pieces}};
}

template <std::size_t Count>
std::array<std::int64_t, Count> numbers_in(const Reader& reader, const Json& object, const char* key) {
    const Json& list = reader.array(object, key);
    if (list.size() != Count) reader.refuse(fmt::format("has {} numbers as \"{}\"", list.size(), key));
    std::array<std::int64_t, Count> numbers{};
    for (std::size_t i = 0; i < Count; ++i) numbers[i] = reader.number(list[i], key, 0, kMostElements);
    return numbers;
}

/// The product of sizes; refused above kMostElements.
std::int64_t product(const Reader& reader, std::span<const std::int64_t> sizes) {
    std::int64_t elements = 1;
    for (const std::int64_t size : sizes) {
        if (size > 0 && elements > kMostElements / size) reader.refuse("has a tensor with too many elements");
        elements *= size;
    }
    return elements;
}

Piece piece_of(const Reader& reader, const Json& object) {
    Piece piece{.name = reader.text_in(object, "name"),
                .tensor = reader.text_in(object, "tensor"),
                .kind = StateKind::weight,
                .slice = {},
                .of_slice = {}};
    const auto& words = partition::Words<StateKind>::list;
    const auto word = std::ranges::find(words, reader.text_in(object, "kind"));
    if (word == words.end()) reader.refuse(fmt::format("has an unknown kind of {}", piece.tensor));
    piece.kind = static_cast<StateKind>(word - words.begin());
    const auto slice = numbers_in<6>(reader, object, "slice");
    piece.slice = {slice[0], slice[1], slice[2], slice[3], slice[4], slice[5]};
    product(reader, std::span(slice).first(4));
    if (piece.slice.begin > piece.slice.end || piece.slice.end - piece.slice.begin > 2 * piece.slice.extent ||
        product(reader, std::array{piece.slice.outer, piece.slice.parts}) > kMostRuns)
        reader.refuse(fmt::format("has a slice of {} that is none", piece.tensor));
    const auto range = numbers_in<2>(reader, object, "range");
    piece.of_slice = {range[0], range[1]};
    if (range[0] > range[1] || range[1] > piece.slice.local_numel())
        reader.refuse(fmt::format("has a range outside its slice of {}", piece.tensor));
    return piece;
}

PartFile file_of(const Reader& reader, const Json& object) {
    PartFile file{.name = reader.text_in(object, "name"),
                  .bytes = static_cast<std::uint64_t>(reader.number_in(object, "bytes")),
                  .chunk_bytes = static_cast<std::uint64_t>(reader.number_in(object, "chunk_bytes", 1)),
                  .sums = {},
                  .pieces = {}};
    if (file.name.empty() || file.name.front() == '.' || file.name.find('/') != std::string::npos)
        reader.refuse("names a file outside its folder");
    for (const Json& sum : reader.array(object, "sums")) {
        if (!sum.is_string()) reader.refuse("has a sum that is no text");
        file.sums.push_back(sum.get<std::string>());
    }
    if (file.sums.size() != (file.bytes + file.chunk_bytes - 1) / file.chunk_bytes)
        reader.refuse(fmt::format("has {} sums for {}", file.sums.size(), file.name));
    for (const Json& piece : reader.array(object, "pieces")) file.pieces.push_back(piece_of(reader, piece));
    return file;
}

// History -------------------------------------------------------------------------------------------------------------

Json to_object(const HistoryEntry& entry) {
    return {{"after", entry.after},
            {"by", entry.by},
            {"from", entry.from},
            {"layout", entry.layout},
            {"changed", entry.changed}};
}

std::vector<HistoryEntry> history_of(const Reader& reader, const Json& manifest, std::int64_t steps) {
    std::vector<HistoryEntry> history;
    if (!manifest.contains("history")) return history;
    for (const Json& object : reader.array(manifest, "history")) {
        const std::int64_t before = history.empty() ? 0 : history.back().after;
        history.push_back({.after = reader.number_in(object, "after", before, steps),
                           .by = reader.text_in(object, "by"),
                           .from = reader.text_in(object, "from"),
                           .layout = reader.text_in(object, "layout")});
        for (const Json& change : reader.array(object, "changed")) {
            if (!change.is_string()) reader.refuse("has a change that is no text");
            history.back().changed.push_back(change.get<std::string>());
        }
    }
    return history;
}

void require_known_format(const Reader& reader, const Json& object) {
    const std::int64_t format = reader.number_in(object, "format");
    if (format != kFormat)
        reader.refuse(fmt::format("is of format {}, and this program reads format {} only", format, kFormat));
}

}  // namespace

std::vector<ShardRun> runs_of(const Piece& piece) {
    auto runs = runs_of(Shard{.tensor = piece.tensor,
                              .kind = Held::value,
                              .slice = piece.slice,
                              .of_slice = piece.of_slice,
                              .place = {0, piece.of_slice.size()},
                              .is_owner = true});
    std::int64_t next = 0;
    for (ShardRun& run : runs) run.place = std::exchange(next, next + run.count);
    return runs;
}

std::int64_t elements_of(const Piece& piece) {
    const auto runs = runs_of(piece);
    return runs.empty() ? 0 : runs.back().place + runs.back().count;
}

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string to_json(const Manifest& manifest) {
    Json tensors = Json::object();
    for (const auto& [name, shape] : manifest.tensors) tensors[name] = shape;
    Json files = Json::array();
    for (const PartFile& file : manifest.files) files.push_back(to_object(file));
    Json history = Json::array();
    for (const HistoryEntry& entry : manifest.history) history.push_back(to_object(entry));
    return with_sum({{"format", kFormat},
                     {"state", to_object(manifest.state)},
                     {"plan", manifest.plan},
                     {"configuration", manifest.configuration},
                     {"history", history},
                     {"tensors", tensors},
                     {"files", files}});
}

Manifest parse_manifest(std::string_view text, const std::filesystem::path& path) {
    const Reader reader(path);
    const Json object = reader.object(text);
    require_known_format(reader, object);
    Manifest manifest{.state = state_of(reader, reader.member(object, "state")),
                      .plan = reader.text_in(object, "plan"),
                      .configuration = reader.text_in(object, "configuration"),
                      .tensors = {},
                      .files = {}};
    manifest.history = history_of(reader, object, manifest.state.steps);
    std::map<std::string, std::int64_t, std::less<>> elements;
    const Json& tensors = reader.member(object, "tensors");
    if (!tensors.is_object()) reader.refuse("has no tensors");
    for (const auto& [name, shape] : tensors.items()) {
        std::vector<std::int64_t> extents;
        if (!shape.is_array()) reader.refuse(fmt::format("has no shape of {}", name));
        for (const Json& extent : shape) extents.push_back(reader.number(extent, "tensors", 1, kMostElements));
        elements[name] = product(reader, extents);
        manifest.tensors.emplace_back(name, std::move(extents));
    }
    for (const Json& file : reader.array(object, "files")) {
        manifest.files.push_back(file_of(reader, file));
        for (const Piece& piece : manifest.files.back().pieces)
            if (const auto tensor = elements.find(piece.tensor);
                tensor == elements.end() || tensor->second != piece.slice.global_numel())
                reader.refuse(fmt::format("has a piece of {} that does not fit its shape", piece.tensor));
    }
    return manifest;
}

std::string to_json(const PartFile& file, std::string_view run) {
    return with_sum({{"format", kFormat}, {"run", run}, {"file", to_object(file)}});
}

PartFile parse_part(std::string_view text, std::string_view run, const std::filesystem::path& path) {
    const Reader reader(path);
    const Json object = reader.object(text);
    require_known_format(reader, object);
    if (reader.text_in(object, "run") != run) reader.refuse("is of another run");
    return file_of(reader, reader.member(object, "file"));
}

}  // namespace smp::runtime
