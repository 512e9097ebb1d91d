#include "runtime/data/token_file_layout.h"

#include <bit>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/mapped_file.h"

namespace smp::runtime {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and read without conversion");

using Bytes = std::span<const std::byte>;

/// The caller has checked that the value lies inside.
template <class T>
T load(Bytes bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

/// Megatron's numbers for its types; 6 and 7 are floating point.
std::optional<TokenType> megatron_type(std::uint8_t code) {
    switch (code) {
        case 1: return TokenType::uint8;
        case 2: return TokenType::int8;
        case 3: return TokenType::int16;
        case 4: return TokenType::int32;
        case 5: return TokenType::int64;
        case 8: return TokenType::uint16;
        default: return std::nullopt;
    }
}

struct MegatronIndex {
    TokenType type;
    std::uint64_t sequences, document_entries;
};

MegatronIndex megatron_header(const std::filesystem::path& path, Bytes bytes) {
    const std::string file = path.string();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.starts_with("TNTIDX")) {
        throw DataError(
            fmt::format("\"{}\" is an index of fairseq's old format (\"TNTIDX\"), which cannot be mapped; preprocess "
                        "the text again "
                        "with Megatron's mmap data set, or with smp_data encode --format megatron.",
                        file));
    }
    if (!text.starts_with(kMegatronMagic)) {
        throw DataError(
            fmt::format("\"{}\" does not begin with \"MMIDIDX\", so it is no Megatron index; remove it if it does not "
                        "belong to the "
                        ".bin beside it, or make the pair again.",
                        file));
    }
    if (bytes.size() < kMegatronHeaderBytes) {
        throw DataError(
            fmt::format("\"{}\" ends after {} bytes, inside its header of {}; it is truncated: copy it again.", file,
                        bytes.size(), kMegatronHeaderBytes));
    }
    if (const auto version = load<std::uint64_t>(bytes, 9); version != kMegatronVersion) {
        throw DataError(fmt::format(
            "\"{}\" has version {} at byte 9, where {} is known; make the pair again with a Megatron that writes it.",
            file, version, kMegatronVersion));
    }
    const auto code = load<std::uint8_t>(bytes, 17);
    const std::optional<TokenType> type = megatron_type(code);
    if (!type) {
        throw DataError(fmt::format(
            "\"{}\" has type {} at byte 17, which is {}; tokens are integers: types 1 to 5 and 8. Make the pair again.",
            file, code, code == 6 || code == 7 ? "floating point" : "unknown"));
    }
    return {
        .type = *type, .sequences = load<std::uint64_t>(bytes, 18), .document_entries = load<std::uint64_t>(bytes, 26)};
}

}  // namespace

std::string_view name(TokenType type) {
    switch (type) {
        case TokenType::uint8: return "uint8";
        case TokenType::int8: return "int8";
        case TokenType::uint16: return "uint16";
        case TokenType::int16: return "int16";
        case TokenType::uint32: return "uint32";
        case TokenType::int32: return "int32";
        case TokenType::int64: return "int64";
    }
    throw std::logic_error("A TokenType without a name.");
}

std::size_t bytes_of(TokenType type) {
    switch (type) {
        case TokenType::uint8:
        case TokenType::int8: return 1;
        case TokenType::uint16:
        case TokenType::int16: return 2;
        case TokenType::uint32:
        case TokenType::int32: return 4;
        case TokenType::int64: return 8;
    }
    throw std::logic_error("A TokenType without a size.");
}

std::filesystem::path index_path(const std::filesystem::path& bin) {
    return std::filesystem::path(bin).replace_extension(".idx");
}

DataFormat recognise(const std::filesystem::path& path, Bytes bytes) {
    const bool is_bin = path.extension() == ".bin";
    std::error_code ignored;
    if (is_bin && std::filesystem::exists(index_path(path), ignored)) return DataFormat::megatron;
    const auto magic = bytes.size() < 4 ? 0 : load<std::int32_t>(bytes, 0);
    const bool has_magic = magic == kLlmcMagic || magic == kLlmcLlama3Magic;
    // Under another name two numbers have to agree: text may begin with any four bytes.
    if (has_magic && (is_bin || (bytes.size() >= kLlmcHeaderBytes && load<std::int32_t>(bytes, 4) < 256)))
        return DataFormat::llmc;
    return is_bin ? DataFormat::nanogpt : DataFormat::text;
}

TokenType nanogpt_type(std::int64_t vocab_size, int token_bytes) {
    switch (token_bytes) {
        case 0: return vocab_size <= 65536 ? TokenType::uint16 : TokenType::uint32;
        case 2: return TokenType::uint16;
        case 4: return TokenType::uint32;
        case 8: return TokenType::int64;
        default: throw std::logic_error(fmt::format("Tokens of {} bytes.", token_bytes));
    }
}

TokenLayout nanogpt_layout(const std::filesystem::path& path, Bytes bytes, std::int64_t vocab_size, int token_bytes) {
    const TokenType type = nanogpt_type(vocab_size, token_bytes);
    const std::size_t width = bytes_of(type);
    if (bytes.size() % width != 0) {
        throw DataError(
            fmt::format("\"{}\" is {} bytes long, no multiple of {} (nanogpt: {} tokens, {}); it is truncated or of "
                        "another format: "
                        "copy it again or state data.format.",
                        path.string(), bytes.size(), width, name(type),
                        token_bytes == 0 ? fmt::format("since the vocabulary has {}", vocab_size)
                                         : fmt::format("data.token_bytes = {}", token_bytes)));
    }
    return {.type = type, .offset = 0, .tokens = static_cast<std::int64_t>(bytes.size() / width), .documents = {}};
}

TokenLayout llmc_layout(const std::filesystem::path& path, Bytes bytes) {
    const std::string file = path.string();
    if (bytes.size() < kLlmcHeaderBytes) {
        throw DataError(fmt::format(
            "\"{}\" is {} bytes long, shorter than llm.c's header of {}; it is truncated or of another format: copy it "
            "again or state data.format.",
            file, bytes.size(), kLlmcHeaderBytes));
    }
    const auto magic = load<std::int32_t>(bytes, 0);
    const auto version = load<std::int32_t>(bytes, 4);
    const auto count = load<std::int32_t>(bytes, 8);
    if (magic != kLlmcMagic && magic != kLlmcLlama3Magic) {
        throw DataError(
            fmt::format("\"{}\" has magic {} at byte 0, where llm.c's token files have {} (GPT-2) or {} (Llama 3); it "
                        "is of another "
                        "format: state data.format.",
                        file, magic, kLlmcMagic, kLlmcLlama3Magic));
    }
    const std::int32_t known = magic == kLlmcMagic ? kLlmcVersion : kLlmcLlama3Version;
    if (version != known) {
        throw DataError(
            fmt::format("\"{}\" has version {} at byte 4, where {} is known; make it again with a current llm.c.", file,
                        version, known));
    }
    const TokenType type = magic == kLlmcMagic ? TokenType::uint16 : TokenType::uint32;
    const std::size_t body = bytes.size() - kLlmcHeaderBytes;
    if (count < 0 || static_cast<std::uint64_t>(count) * bytes_of(type) != body) {
        throw DataError(fmt::format(
            "\"{}\" has {} bytes of tokens after its header, but the header promises {} {} tokens at byte 8; it is "
            "truncated or damaged: copy it again.",
            file, body, count, name(type)));
    }
    return {.type = type, .offset = kLlmcHeaderBytes, .tokens = count, .documents = {}};
}

TokenLayout megatron_layout(const std::filesystem::path& path, Bytes bytes) {
    const MappedFile index(index_path(path));
    const Bytes entries = index.bytes();
    const std::string file = index.path().string();
    const auto [type, sequences, documents] = megatron_header(index.path(), entries);

    // After the header: length (int32) and position (int64) of each sequence, then document boundaries (int64); for
    // multimodal data a mode (int8) for each sequence at the end. Divided, not multiplied: the counts may be anything.
    const std::uint64_t room = entries.size() - kMegatronHeaderBytes;
    const bool fits = sequences <= room / 12 && documents <= (room - 12 * sequences) / 8;
    const std::uint64_t rest = fits ? room - 12 * sequences - 8 * documents : 0;
    if (!fits || (rest != 0 && rest != sequences)) {
        throw DataError(
            fmt::format("\"{}\" is {} bytes long, which does not hold just the {} sequences (byte 18) and {} document "
                        "entries (byte 26) "
                        "that its header promises; it is truncated or damaged: copy it again.",
                        file, entries.size(), sequences, documents));
    }
    const std::size_t lengths = kMegatronHeaderBytes;
    const std::size_t positions = lengths + 4 * sequences;
    const std::size_t boundaries = positions + 8 * sequences;
    std::uint64_t end = 0;  // bytes of the .bin that the sequences so far take
    for (std::uint64_t i = 0; i < sequences; ++i) {
        const auto length = load<std::int32_t>(entries, lengths + 4 * i);
        const auto position = load<std::int64_t>(entries, positions + 8 * i);
        if (length < 0 || position < 0 || static_cast<std::uint64_t>(position) != end) {
            throw DataError(
                fmt::format("\"{}\": sequence {} has {} tokens (byte {}) at position {} (byte {}), where the one "
                            "before ends at {}; "
                            "the index is damaged: make the pair again.",
                            file, i, length, lengths + 4 * i, position, positions + 8 * i, end));
        }
        end += static_cast<std::uint64_t>(length) * bytes_of(type);
    }
    if (end != bytes.size()) {
        throw DataError(
            fmt::format("\"{}\" is {} bytes long, but \"{}\" describes {} bytes of {} tokens; one of the two is "
                        "truncated, or they do not "
                        "belong together: copy both again.",
                        path.string(), bytes.size(), file, end, name(type)));
    }
    std::int64_t last = 0;
    for (std::uint64_t i = 0; i < documents; ++i) {
        const auto boundary = load<std::int64_t>(entries, boundaries + 8 * i);
        if (boundary < last || static_cast<std::uint64_t>(boundary) > sequences) {
            throw DataError(
                fmt::format("\"{}\": document entry {} (byte {}) is sequence {}, which is not in {} to {}; the index "
                            "is damaged: make the "
                            "pair again.",
                            file, i, boundaries + 8 * i, boundary, last, sequences));
        }
        last = boundary;
    }
    index.require_whole();
    return {.type = type,
            .offset = 0,
            .tokens = static_cast<std::int64_t>(end / bytes_of(type)),
            .documents = documents == 0 ? 0 : static_cast<std::int64_t>(documents) - 1};
}

}  // namespace smp::runtime
