// Where the tokens lie in a token file, and whether the file is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "runtime/job/options.h"

namespace smp::runtime {

/// How one token is stored; little-endian, at any alignment.
enum class TokenType { uint8, int8, uint16, int16, uint32, int32, int64 };

std::string_view name(TokenType type);
std::size_t bytes_of(TokenType type);

/// The part of a file that is tokens, one after the other.
struct TokenLayout {
    TokenType type = TokenType::uint16;
    std::size_t offset = 0;  // bytes before the first token
    std::int64_t tokens = 0;
    std::optional<std::int64_t> documents;  // where the format knows
};

// Fixed parts of the formats, for reading and writing.
inline constexpr std::int32_t kLlmcMagic = 20240520;  // uint16 tokens
inline constexpr std::int32_t kLlmcVersion = 1;
inline constexpr std::int32_t kLlmcLlama3Magic = 20240801;  // uint32 tokens
inline constexpr std::int32_t kLlmcLlama3Version = 7;
inline constexpr std::size_t kLlmcHeaderBytes = 256 * 4;  // int32: magic, version, tokens, zeros
inline constexpr std::string_view kMegatronMagic{"MMIDIDX\0\0", 9};
inline constexpr std::uint64_t kMegatronVersion = 1;
inline constexpr std::size_t kMegatronHeaderBytes =
    9 + 8 + 1 + 8 + 8;  // magic, version, type, sequences, document entries

/// The .idx of a Megatron .bin.
std::filesystem::path index_path(const std::filesystem::path& bin);

/// `automatic` decided: an .idx beside a .bin is megatron, llm.c's magic and version llmc, another .bin nanogpt,
/// anything else text.
DataFormat recognise(const std::filesystem::path& path, std::span<const std::byte> bytes);

// Each throws DataError if the sizes and headers do not agree; the message begins with the file's path in quotes.

/// Nothing but tokens: of token_bytes 2, 4 or 8; where that is 0, uint16 if vocab_size ≤ 65536, else uint32.
TokenType nanogpt_type(std::int64_t vocab_size, int token_bytes);
TokenLayout nanogpt_layout(const std::filesystem::path& path, std::span<const std::byte> bytes, std::int64_t vocab_size,
                           int token_bytes = 0);
/// A header of 256 int32, then as many tokens as it says.
TokenLayout llmc_layout(const std::filesystem::path& path, std::span<const std::byte> bytes);
/// Reads the .idx beside it: sequences must follow one another without gaps and fill the .bin.
TokenLayout megatron_layout(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace smp::runtime
