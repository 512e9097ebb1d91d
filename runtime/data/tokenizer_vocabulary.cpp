#include "runtime/data/tokenizer_vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

std::uint64_t hash_of(std::string_view bytes) {
    constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;
    std::uint64_t hash = bytes.size() * kFactor;
    const auto add = [&](std::uint64_t word) {
        hash = (hash ^ word) * kFactor;
        hash ^= hash >> 32;
    };
    while (bytes.size() >= 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data(), 8);
        add(word);
        bytes.remove_prefix(8);
    }
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    add(word);
    return hash;
}

constexpr std::array<std::int8_t, 256> kBase64Digits = [] {
    std::array<std::int8_t, 256> digits{};
    digits.fill(-1);
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < kAlphabet.size(); ++i)
        digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    return digits;
}();

/// Appends the decoded bytes; false if `text` is no base64 or decodes to nothing.
bool append_base64(std::string_view text, std::string& bytes) {
    if (text.empty() || text.size() % 4 != 0) return false;
    text = text.substr(0, text.size() - (text.back() == '=') - (text.ends_with("==")));
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        const int digit = kBase64Digits[static_cast<unsigned char>(c)];
        if (digit < 0) return false;
        bits = bits << 6 | static_cast<std::uint32_t>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes.push_back(static_cast<char>(bits >> count & 0xff));
        }
    }
    return !text.empty();
}

}  // namespace

TokenVocabulary::TokenVocabulary(std::string_view text, std::string_view source) {
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    slots_.resize(std::bit_ceil(2 * lines));
    starts_.reserve(lines + 1);
    starts_.push_back(0);
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;

        const auto refuse = [&](std::string_view what) {
            return DataError(fmt::format(
                "{}, line {}: {}; a vocabulary has one \"base64(token) rank\" a line, ranks counting from 0, as "
                "tiktoken's gpt2.tiktoken.",
                source, number, what));
        };
        const std::size_t space = line.find(' ');
        const std::int64_t expected = size();
        if (space == line.npos || !append_base64(line.substr(0, space), pool_)) {
            throw refuse(fmt::format("\"{}\" does not begin with a base64 token and a space", line.substr(0, 40)));
        }
        std::int64_t rank = -1;
        const char* const stop = line.data() + line.size();
        const auto [parsed, error] = std::from_chars(line.data() + space + 1, stop, rank);
        if (error != std::errc() || parsed != stop)
            throw refuse(fmt::format("\"{}\" is no rank", line.substr(space + 1, 40)));
        if (rank != expected) throw refuse(fmt::format("the rank is {} where {} comes next", rank, expected));
        longest_ = std::max(longest_, pool_.size() - starts_.back());
        starts_.push_back(pool_.size());
        if (!insert(static_cast<std::uint32_t>(rank))) throw refuse("the same token stands in an earlier line");
    }
    for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(byte);
        if (!rank({&c, 1})) {
            throw DataError(fmt::format(
                "{}: the single byte 0x{:02x} is missing among its {} tokens; a vocabulary needs all 256, so that any "
                "text can be encoded: get a complete file.",
                source, byte, size()));
        }
    }
}

bool TokenVocabulary::insert(std::uint32_t rank) {
    const std::uint64_t hash = hash_of(bytes(rank));
    std::size_t i = hash & (slots_.size() - 1);
    for (; slots_[i].rank_plus_one != 0; i = (i + 1) & (slots_.size() - 1)) {
        if (bytes(slots_[i].rank_plus_one - 1) == bytes(rank)) return false;
    }
    slots_[i] = {.hash = static_cast<std::uint32_t>(hash >> 32), .rank_plus_one = rank + 1};
    return true;
}

std::optional<std::int64_t> TokenVocabulary::rank(std::string_view token) const {
    const std::uint64_t hash = hash_of(token);
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t i = hash & (slots_.size() - 1); slots_[i].rank_plus_one != 0; i = (i + 1) & (slots_.size() - 1)) {
        if (slots_[i].hash == tag && bytes(slots_[i].rank_plus_one - 1) == token) return slots_[i].rank_plus_one - 1;
    }
    return std::nullopt;
}

}  // namespace smp::runtime
