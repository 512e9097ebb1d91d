#include "runtime/data/content_doubt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "runtime/files/utf8.h"

namespace smp::runtime {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t kBlockBytes = std::size_t{4} << 10;
constexpr std::size_t kBlocks = 16;
constexpr std::size_t kLeastWords = 8;     // fewer could be alike by chance
constexpr std::size_t kLeastText = 32;     // bytes
constexpr double kCertainControls = 0.01;  // of the bytes: text has hardly any

/// Blocks that begin at multiples of 8 bytes, over all of the file.
std::vector<Bytes> blocks_of(Bytes bytes) {
    if (bytes.size() <= kBlockBytes * kBlocks) return {bytes};
    std::vector<Bytes> blocks;
    const std::size_t last = bytes.size() - kBlockBytes;
    for (std::size_t i = 0; i < kBlocks; ++i)
        blocks.push_back(bytes.subspan(last / (kBlocks - 1) * i / 8 * 8, kBlockBytes));
    return blocks;
}

template <class Word>
Word byte_swapped(Word word) {
    auto bytes = std::bit_cast<std::array<std::byte, sizeof(Word)>>(word);
    std::reverse(bytes.begin(), bytes.end());
    return std::bit_cast<Word>(bytes);
}

/// What all words of a width have in common.
template <class Word>
struct WordFacts {
    std::size_t words = 0, zeros = 0;
    std::size_t small = 0, swapped_small = 0;  // below `limit`
    std::uint64_t largest_rest = 0, largest_high = 0;

    /// `low` are the bits that a narrower token has.
    WordFacts(const std::vector<Bytes>& blocks, Word low, std::uint64_t limit) {
        const auto is_small = [limit](Word word) {
            const bool is_negative =
                sizeof(Word) > 2 && static_cast<Word>(~word) < 256;  // marks, as −100 for "no target"
            return word < limit || is_negative;
        };
        for (const Bytes block : blocks) {
            for (std::size_t at = 0; at + sizeof(Word) <= block.size(); at += sizeof(Word)) {
                Word word;
                std::memcpy(&word, block.data() + at, sizeof(Word));
                ++words;
                zeros += word == 0 ? 1 : 0;
                small += is_small(word) ? 1 : 0;
                swapped_small += is_small(byte_swapped(word)) ? 1 : 0;
                largest_rest = std::max<std::uint64_t>(largest_rest, word & low);
                largest_high = std::max<std::uint64_t>(largest_high, word / (std::uint64_t{low} + 1));
            }
        }
    }
    std::size_t nonzero() const { return words - zeros; }
    bool all_small() const { return nonzero() >= kLeastWords && small == words; }
    bool all_small_if_swapped() const { return nonzero() >= kLeastWords && swapped_small == words; }
};

/// Whether all words are whole numbers of a size that tokens have, most of them not 0.
template <class Float>
bool all_whole(const std::vector<Bytes>& blocks) {
    std::size_t words = 0, zeros = 0;
    for (const Bytes block : blocks) {
        for (std::size_t at = 0; at + sizeof(Float) <= block.size(); at += sizeof(Float)) {
            Float value;
            std::memcpy(&value, block.data() + at, sizeof(Float));
            if (!(value >= 0 && value < 0x1p24) || value != std::floor(value) || std::signbit(value)) return false;
            ++words;
            zeros += value == 0 ? 1 : 0;
        }
    }
    return words >= kLeastWords && zeros < words / 2;
}

struct TextFacts {
    std::size_t bytes = 0, controls = 0, zeros = 0, odd_zeros = 0;
    std::optional<std::size_t> first_invalid;  // byte of the file
};

TextFacts text_facts(Bytes file) {
    TextFacts facts;
    for (const Bytes block : blocks_of(file)) {
        const auto offset = static_cast<std::size_t>(block.data() - file.data());
        const std::size_t size = block.size();
        const std::string_view text(reinterpret_cast<const char*>(block.data()), size);
        facts.bytes += size;
        std::size_t at = 0;
        // A block may begin and end inside a character.
        if (offset > 0)
            while (at < 3 && at < size && (std::to_integer<unsigned>(block[at]) & 0xc0) == 0x80) ++at;
        while (at < size) {
            const unsigned byte = std::to_integer<unsigned>(block[at]);
            const bool is_space = byte >= '\b' && byte <= '\r';
            if ((byte < 0x20 && !is_space && byte != 0x1b) || byte == 0x7f) ++facts.controls;
            if (byte == 0) {
                ++facts.zeros;
                facts.odd_zeros += (offset + at) % 2;
            }
            const std::size_t length = utf8_length(text.substr(at));
            if (length == 0 && (at + 4 <= size || offset + size == file.size()) && !facts.first_invalid)
                facts.first_invalid = offset + at;
            at += std::max<std::size_t>(1, length);
        }
    }
    return facts;
}

ContentDoubt of_width(const std::string& what, std::string_view pattern, int width, TokenType type) {
    return {.what = fmt::format("looks like {} ({})", what, pattern),
            .remedy = fmt::format("set data.token_bytes = {} if it is, or = {} to read it as {}", width, bytes_of(type),
                                  name(type)),
            .certain = true};
}

ContentDoubt of_kind(const std::string& what, const std::string& remedy) {
    return {.what = "looks like " + what, .remedy = remedy, .certain = true};
}

std::string convert_to(TokenType type) {
    return fmt::format("convert it, with NumPy by array.astype(\"<u{}\")", bytes_of(type));
}

/// Integers that are wider than the tokens they are read as: all but the first of the tokens in each are 0.
template <class Wide>
std::optional<ContentDoubt> doubt_of_wider(const std::vector<Bytes>& blocks, TokenType type) {
    constexpr int width = sizeof(Wide);
    const std::size_t narrow = bytes_of(type);
    const std::uint64_t low = narrow == 2 ? 0xffff : 0xffff'ffff;
    const WordFacts<Wide> facts(blocks, static_cast<Wide>(low), low + 1);
    const auto doubt = [&](std::string_view rest) {
        return of_width(fmt::format("{}-byte integers", width),
                        width == 2 * narrow ? fmt::format("every second {}-byte token is {}", narrow, rest)
                                            : fmt::format("three of four {}-byte tokens are {}", narrow, rest),
                        width, type);
    };
    if (facts.all_small()) return doubt("0");
    if (facts.all_small_if_swapped())
        return of_kind(fmt::format("{}-byte integers in big-endian order", width), convert_to(type));
    // Tokens of a vocabulary above 65536 have a few high bits.
    if (narrow == 2 && facts.nonzero() >= 8 * kLeastWords && facts.largest_high <= 3 && facts.largest_rest >= 256)
        return doubt("3 or less");
    return std::nullopt;
}

}  // namespace

std::optional<ContentDoubt> doubt_as_tokens(Bytes bytes, TokenType type, std::int64_t vocab_size) {
    const std::vector<Bytes> blocks = blocks_of(bytes);
    const auto limit = static_cast<std::uint64_t>(vocab_size);
    // The widest first: what fits into 8 bytes has the pattern of 4 too.
    if (bytes.size() % 8 == 0)
        if (auto wider = doubt_of_wider<std::uint64_t>(blocks, type)) return wider;
    if (bytes.size() % 4 == 0 && type == TokenType::uint16)
        if (auto wider = doubt_of_wider<std::uint32_t>(blocks, type)) return wider;
    if (bytes.size() % 8 == 0 && all_whole<double>(blocks))
        return of_kind("8-byte floating-point numbers (all of them whole)", convert_to(type));
    if (bytes.size() % 4 == 0 && all_whole<float>(blocks))
        return of_kind("4-byte floating-point numbers (all of them whole)", convert_to(type));
    if (const TextFacts text = text_facts(bytes); text.bytes >= kLeastText && text.controls == 0 && !text.first_invalid)
        return of_kind("plain text (UTF-8)", "set data.format = \"text\"");
    if (type == TokenType::uint16) {
        const WordFacts<std::uint16_t> facts(blocks, 0xff, limit);
        if (facts.small < facts.words && facts.all_small_if_swapped())
            return of_kind("2-byte integers in big-endian order", convert_to(type));
    } else {
        const WordFacts<std::uint32_t> facts(blocks, 0xffff, limit);
        if (facts.small < facts.words && facts.all_small_if_swapped())
            return of_kind("4-byte integers in big-endian order", convert_to(type));
        if (facts.words >= kLeastWords && facts.small < facts.words / 2)
            return of_width("2-byte integers", fmt::format("as {} most are far outside the vocabulary", name(type)), 2,
                            type);
    }
    return std::nullopt;
}

std::optional<ContentDoubt> doubt_as_text(Bytes bytes) {
    const TextFacts facts = text_facts(bytes);
    const auto share = static_cast<double>(facts.controls) / static_cast<double>(std::max<std::size_t>(1, facts.bytes));
    if (share > kCertainControls) {
        const bool every_second = facts.zeros >= facts.bytes / 4 && facts.zeros <= facts.bytes * 3 / 5 &&
                                  (facts.odd_zeros > facts.zeros * 9 / 10 || facts.odd_zeros < facts.zeros / 10);
        return ContentDoubt{
            .what = every_second
                        ? std::string("looks like 2-byte tokens or text in UTF-16: every second byte is 0")
                        : fmt::format("does not look like text: {:.0f} % of it are control characters", 1e2 * share),
            .remedy =
                "set data.format = \"nanogpt\" (and data.token_bytes) if it holds tokens, or \"text\" to train on "
                "its bytes nevertheless",
            .certain = true};
    }
    if (facts.controls > 0)
        return ContentDoubt{.what = "may not be text: it has control characters",
                            .remedy = "look at it, and set data.format if it holds tokens"};
    if (facts.first_invalid)
        return ContentDoubt{.what = fmt::format("is not UTF-8 throughout: byte {} is not", *facts.first_invalid),
                            .remedy = "convert it (iconv -t UTF-8) if its text is of another encoding"};
    return std::nullopt;
}

}  // namespace smp::runtime
