// The header of a safetensors file, for what reads and writes such files here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/files/safetensors.h"

namespace smp::runtime::safetensors {

inline constexpr std::uint64_t kLengthBytes = 8;
inline constexpr std::uint64_t kLongestHeader = 100'000'000;  // the format's own limit
inline constexpr const char* kMetadata = "__metadata__";
/// What to do with a file of PyTorch's.
inline constexpr const char* kConvert =
    "write it as safetensors first, with transformers: "
    "AutoModelForCausalLM.from_pretrained(\"it\").save_pretrained(\"new\"), or with safetensors.torch.save_file";

/// Bytes of a tensor; nothing if they do not fit into 63 bits.
std::optional<std::uint64_t> size_of(SafetensorsType type, const std::vector<std::int64_t>& shape);

/// For messages, cut at a readable length.
std::string shown(const nlohmann::json& value);

using Member = std::function<void(const std::string& name, const nlohmann::json& value)>;

/// Hands over the members of the JSON object that `text` is, one by one. No object may have a key twice, and nothing
/// may nest deeper than a header does. `offset`: of the text in the file. Throws DataError, for what `member` throws
/// too.
void for_each_member(const std::string& file, std::string_view text, std::uint64_t offset, const Member& member);

}  // namespace smp::runtime::safetensors
