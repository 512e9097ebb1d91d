#include "runtime/files/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "runtime/files/binary_format.h"
#include "runtime/files/data_error.h"
#include "runtime/files/output_file.h"

namespace smp::runtime {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and read without conversion");

using Json = nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr std::uint64_t kAlignment = 64;               // of the first tensor we write
constexpr const char* kMetadata = "__metadata__";
constexpr const char* kConvert =
    "write it as safetensors first, with transformers: "
    "AutoModelForCausalLM.from_pretrained(\"it\").save_pretrained(\"new\"), or with safetensors.torch.save_file";

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

/// Bytes of a tensor; nothing if they do not fit into 63 bits.
std::optional<std::uint64_t> size_of(SafetensorsType type, const std::vector<std::int64_t>& shape) {
    std::uint64_t size = bytes_of(type);
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
    for (const std::int64_t extent : shape) {
        if (size >
            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / static_cast<std::uint64_t>(extent))
            return std::nullopt;
        size *= static_cast<std::uint64_t>(extent);
    }
    return size;
}

using Member = std::function<void(const std::string& name, const Json& value)>;

/// Hands the members of a JSON object over one by one, each read on its own: nlohmann's callback takes time that grows
/// with the square of their number. No object may have a key twice (nlohmann would keep the last), and nothing may nest
/// deeper than a header does.
class MemberReader final : public Json::json_sax_t {
  public:
    MemberReader(std::string file, Member member) : file_(std::move(file)), member_(std::move(member)) {}

    bool is_object() const { return is_object_; }
    std::size_t error_position() const { return error_position_; }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t&) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override {
        if (is_object_) return open(Json::object());
        return is_object_ = true;
    }
    bool start_array(std::size_t) override { return is_object_ && open(Json::array()); }
    bool end_object() override { return open_.empty() || close(); }
    bool end_array() override { return close(); }
    bool key(string_t& value) override {
        const bool is_new = open_.empty() ? names_.insert(value).second : !open_.back()->contains(value);
        if (!is_new) {
            throw DataError(
                fmt::format("\"{}\" names {} twice in its header; write the file again.", file_, shown(Json(value))));
        }
        (open_.empty() ? name_ : key_) = std::move(value);
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        error_position_ = position;
        return false;
    }

    static std::string shown(const Json& value) {
        return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
    }

  private:
    static constexpr std::size_t kDeepest = 8;

    bool add(Json value) {
        if (!is_object_) return false;
        if (open_.empty()) {
            member_(name_, value);
        } else {
            insert(std::move(value));
        }
        return true;
    }
    Json* insert(Json value) {
        Json& parent = *open_.back();
        if (!parent.is_array()) return &(parent[key_] = std::move(value));
        parent.push_back(std::move(value));
        return &parent.back();
    }
    bool open(Json value) {
        if (open_.size() == kDeepest) {
            throw DataError(
                fmt::format("\"{}\": \"{}\" nests more than {} levels deep; a safetensors header has three: "
                            "it is damaged or of another format.",
                            file_, name_, kDeepest));
        }
        if (open_.empty()) {
            value_ = std::move(value);
            open_.push_back(&value_);
        } else {
            open_.push_back(insert(std::move(value)));
        }
        return true;
    }
    bool close() {
        open_.pop_back();
        if (open_.empty()) member_(name_, value_);
        return true;
    }

    std::string file_;
    Member member_;
    bool is_object_ = false;
    std::size_t error_position_ = 0;
    std::unordered_set<std::string> names_;
    std::string name_, key_;
    Json value_;               // the member that is being read
    std::vector<Json*> open_;  // objects and lists in it, from the outside
};

/// `offset`: of the text in the file. Throws DataError, for what `member` throws too.
void for_each_member(const std::string& file, std::string_view text, std::uint64_t offset, const Member& member) {
    MemberReader reader(file, member);
    if (Json::sax_parse(text, &reader)) return;
    if (reader.error_position() == 0) {
        throw DataError(fmt::format("\"{}\" has a header that is no JSON object; it is damaged: copy it again.", file));
    }
    throw DataError(
        fmt::format("\"{}\" has a header that is no JSON, from byte {} on; the file is damaged or no safetensors "
                    "file: copy it again.",
                    file, offset + reader.error_position() - 1));
}

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
    const auto shown = MemberReader::shown;
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

/// What lies in a folder that has no weights as they are looked for.
[[noreturn]] void refuse_folder(const std::filesystem::path& folder) {
    const auto refuse = [&](const std::string& what) {
        throw DataError(fmt::format("\"{}\" holds neither model.safetensors nor model.safetensors.index.json{}.",
                                    folder.string(), what));
    };
    std::vector<std::string> others;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
        const std::filesystem::path name = entry.path().filename();
        if (name == "manifest.json" || name == "checkpoints")
            refuse(", but a training of smp; go on from it by --resume, or write its weights by smp_convert export");
        if (name.string().starts_with("pytorch_model"))
            refuse(fmt::format(", but {}, which is PyTorch's own format; {}", name.string(), kConvert));
        if (name.extension() == ".safetensors") others.push_back(name.string());
    }
    std::sort(others.begin(), others.end());
    if (others.size() == 1) refuse(fmt::format(", but {}; name that file, if it holds the model", others.front()));
    if (!others.empty())
        refuse(fmt::format(", but {} other .safetensors files, such as {}; name one, or add the index", others.size(),
                           others.front()));
    refuse("; name a Hugging Face model folder or a .safetensors file");
    throw std::logic_error("unreachable");
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

float from_half(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
    const std::uint32_t exponent = bits >> 10 & 0x1f;
    const std::uint32_t mantissa = bits & 0x3ff;
    if (exponent == 0) {  // zero or subnormal: mantissa · 2^−24, exactly
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
        return sign ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 127 - 15;
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

template <class Stored, class Convert>
void convert(std::span<const std::byte> from, std::span<float> to, Convert to_float) {
    for (std::size_t i = 0; i < to.size(); ++i) {
        Stored value;
        std::memcpy(&value, from.data() + i * sizeof(Stored), sizeof(Stored));
        to[i] = to_float(value);
    }
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

Weights::Weights(std::filesystem::path path, std::vector<SafetensorsFile> files)
    : path_(std::move(path)), files_(std::move(files)) {
    for (const SafetensorsFile& file : files_) {
        for (const SafetensorsEntry& entry : file.entries()) {
            if (!entries_.emplace(entry.name, &entry).second) {
                throw DataError(fmt::format("\"{}\": tensor \"{}\" is in \"{}\" and in an earlier file; keep one.",
                                            path_.string(), entry.name, file.path().filename().string()));
            }
        }
    }
}

const SafetensorsEntry* Weights::find(std::string_view name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : found->second;
}

std::string Weights::file_of(const SafetensorsEntry& entry) const {
    const auto has = [&](const SafetensorsFile& file) {
        return std::ranges::any_of(file.entries(), [&](const SafetensorsEntry& one) { return &one == &entry; });
    };
    const auto file = std::ranges::find_if(files_, has);
    return (file == files_.end() ? path_ : file->path()).string();
}

void Weights::read_float(const SafetensorsEntry& entry, std::int64_t first, std::span<float> values) const {
    if (first < 0 || first > entry.elements() || std::ssize(values) > entry.elements() - first) {
        throw std::logic_error(fmt::format("Elements {} to {} of \"{}\", which has {}.", first,
                                           first + std::ssize(values), entry.name, entry.elements()));
    }
    const auto refuse_dtype = [&] {
        return DataError(fmt::format(
            "\"{}\": tensor \"{}\" has dtype {}, where F32, F16, BF16 or F64 is needed; convert it first.", path(),
            entry.name, entry.dtype == SafetensorsType::other ? entry.dtype_name : name(entry.dtype)));
    };
    if (entry.dtype == SafetensorsType::other) throw refuse_dtype();
    const std::size_t width = bytes_of(entry.dtype);
    const std::span<const std::byte> bytes =
        entry.bytes.subspan(static_cast<std::size_t>(first) * width, values.size() * width);
    switch (entry.dtype) {
        case SafetensorsType::F32:
            if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
            break;
        case SafetensorsType::F16: convert<std::uint16_t>(bytes, values, from_half); break;
        case SafetensorsType::BF16:
            convert<std::uint16_t>(bytes, values,
                                   [](std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); });
            break;
        case SafetensorsType::F64:
            convert<double>(bytes, values, [](double value) { return static_cast<float>(value); });
            break;
        default: throw refuse_dtype();
    }
    for (const SafetensorsFile& file : files_) file.require_whole();
}

void Weights::let_go() const {
    for (const SafetensorsFile& file : files_) file.let_go();
}

Weights open_weights(const std::filesystem::path& path) {
    std::vector<SafetensorsFile> files;
    std::error_code ignored;
    if (!std::filesystem::is_directory(path, ignored)) {
        files.emplace_back(path);
        return Weights(path, std::move(files));
    }
    const std::filesystem::path single = path / "model.safetensors";
    const std::filesystem::path index_path = path / "model.safetensors.index.json";
    if (std::filesystem::exists(single, ignored)) {
        files.emplace_back(single);
        return Weights(path, std::move(files));
    }
    if (!std::filesystem::exists(index_path, ignored)) refuse_folder(path);
    const MappedFile text(index_path);
    const auto refuse = [&](std::string_view what) {
        return DataError(fmt::format("\"{}\" {}; download the model again.", index_path.string(), what));
    };
    if (text.size() > kLongestHeader)
        throw refuse(fmt::format("is {} bytes long, where an index has at most {}", text.size(), kLongestHeader));
    Json weight_map;
    for_each_member(index_path.string(), {reinterpret_cast<const char*>(text.bytes().data()), text.size()}, 0,
                    [&](const std::string& key, const Json& value) {
                        if (key == "weight_map") weight_map = value;
                    });
    text.require_whole();
    if (!weight_map.is_object()) throw refuse("has no object \"weight_map\"");
    std::set<std::string> names;
    for (const auto& [tensor, file] : weight_map.items()) {
        // Plain names: an index must not reach outside its directory.
        if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos ||
            file.get<std::string>().empty()) {
            throw refuse(fmt::format("maps tensor \"{}\" to {}, which is no name of a file beside it", tensor,
                                     MemberReader::shown(file)));
        }
        names.insert(file.get<std::string>());
    }
    for (const std::string& name : names) files.emplace_back(path / name);
    Weights weights(path, std::move(files));
    for (const auto& [tensor, file] : weight_map.items()) {
        if (!weights.find(tensor))
            throw refuse(fmt::format("promises tensor \"{}\" in \"{}\", which does not have it", tensor,
                                     file.get<std::string>()));
    }
    return weights;
}

void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsEntry> tensors,
                       const std::map<std::string, std::string>& metadata) {
    std::vector<SafetensorsSource> sources;
    for (const SafetensorsEntry& tensor : tensors)
        sources.push_back({.name = tensor.name,
                           .dtype = tensor.dtype,
                           .shape = tensor.shape,
                           .bytes = [&tensor](const TakeBytes& take) { take(tensor.bytes); }});
    stream_safetensors(path, sources, metadata);
}

void stream_safetensors(const std::filesystem::path& path, std::span<const SafetensorsSource> tensors,
                        const std::map<std::string, std::string>& metadata, const TakeBytes& seen) {
    std::vector<const SafetensorsSource*> order;
    for (const SafetensorsSource& tensor : tensors) order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](const SafetensorsSource* a, const SafetensorsSource* b) {
        return std::make_pair(bytes_of(b->dtype), std::string_view(a->name)) <
               std::make_pair(bytes_of(a->dtype), std::string_view(b->name));
    });
    std::string text = "{";
    const auto add = [&](const std::string& key, const nlohmann::ordered_json& value) {
        text += fmt::format("{}{}:{}", text.size() == 1 ? "" : ",", Json(key).dump(), value.dump());
    };
    if (!metadata.empty()) add(kMetadata, metadata);
    std::unordered_set<std::string> names = {kMetadata};
    std::uint64_t end = 0;
    std::vector<std::uint64_t> ends;
    for (const SafetensorsSource* tensor : order) {
        const auto size = size_of(tensor->dtype, tensor->shape);
        if (!size)
            throw std::logic_error(fmt::format("Tensor \"{}\" has shape [{}], which no file can hold.", tensor->name,
                                               fmt::join(tensor->shape, ", ")));
        if (!names.insert(tensor->name).second)
            throw std::logic_error(fmt::format("Tensor \"{}\" is written twice.", tensor->name));
        const std::uint64_t begin = std::exchange(end, end + *size);
        ends.push_back(end);
        add(tensor->name, {{"dtype", name(tensor->dtype)}, {"shape", tensor->shape}, {"data_offsets", {begin, end}}});
    }
    text += '}';
    text.resize((text.size() + kLengthBytes + kAlignment - 1) / kAlignment * kAlignment - kLengthBytes, ' ');
    const std::uint64_t length = text.size();

    OutputFile file(path, OutputFile::Existing::replace);
    const auto write = [&](std::span<const std::byte> bytes) {
        file.write(bytes);
        if (seen) seen(bytes);
    };
    write(std::as_bytes(std::span(&length, 1)));
    write(std::as_bytes(std::span(text)));
    const std::uint64_t front = file.size();
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::uint64_t begin = file.size();
        order[i]->bytes(write);
        if (file.size() != front + ends[i])
            throw std::logic_error(fmt::format("Tensor \"{}\", {} [{}], has {} bytes.", order[i]->name,
                                               name(order[i]->dtype), fmt::join(order[i]->shape, ", "),
                                               file.size() - begin));
    }
    file.commit();
}

}  // namespace smp::runtime
