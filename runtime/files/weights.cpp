// Weights: the tensors of a model from one safetensors file, or from a folder as Hugging Face makes it.
#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/files/data_error.h"
#include "runtime/files/safetensors_header.h"

namespace smp::runtime {
namespace {

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
            refuse(fmt::format(", but {}, which is PyTorch's own format; {}", name.string(), safetensors::kConvert));
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
    if (text.size() > safetensors::kLongestHeader)
        throw refuse(
            fmt::format("is {} bytes long, where an index has at most {}", text.size(), safetensors::kLongestHeader));
    nlohmann::json weight_map;
    safetensors::for_each_member(index_path.string(), {reinterpret_cast<const char*>(text.bytes().data()), text.size()},
                                 0, [&](const std::string& key, const nlohmann::json& value) {
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
                                     safetensors::shown(file)));
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

}  // namespace smp::runtime
