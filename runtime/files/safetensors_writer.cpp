#include <algorithm>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "runtime/files/output_file.h"
#include "runtime/files/safetensors_header.h"

namespace smp::runtime {
namespace {

constexpr std::uint64_t kAlignment = 64;  // of the first tensor

}  // namespace

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
        text += fmt::format("{}{}:{}", text.size() == 1 ? "" : ",", nlohmann::json(key).dump(), value.dump());
    };
    if (!metadata.empty()) add(safetensors::kMetadata, metadata);
    std::unordered_set<std::string> names = {safetensors::kMetadata};
    std::uint64_t end = 0;
    std::vector<std::uint64_t> ends;
    for (const SafetensorsSource* tensor : order) {
        const auto size = safetensors::size_of(tensor->dtype, tensor->shape);
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
    text.resize((text.size() + safetensors::kLengthBytes + kAlignment - 1) / kAlignment * kAlignment -
                    safetensors::kLengthBytes,
                ' ');
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
