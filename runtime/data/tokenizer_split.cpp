#include "runtime/data/tokenizer_split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <pcre2.h>
#include <stdexcept>

#include <fmt/format.h>

namespace smp::runtime {
namespace {

// PCRE2's \s also takes U+180E, which left White_Space in Unicode 6.3; hence a class of our own.
constexpr const char* kPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{Z}\t-\r\x{85}\p{L}\p{N}]+|[\p{Z}\t-\r\x{85}]+(?![^\p{Z}\t-\r\x{85}])|[\p{Z}\t-\r\x{85}]+)";

[[noreturn]] void fail(const char* operation, int code) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(code, text.data(), text.size());
    throw std::logic_error(fmt::format("{} of GPT-2's split pattern: PCRE2 says {} ({}).", operation, code,
                                       std::string_view(reinterpret_cast<const char*>(text.data()))));
}

using Code = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;
using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

Code compile() {
    int error = 0;
    PCRE2_SIZE offset = 0;
    // Anchored: each character belongs to some alternative, so a piece begins where the last one ended.
    Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &offset, nullptr),
              &pcre2_code_free);
    if (!code) fail("Compilation", error);
    // Where no code can be made at run time, the interpreter takes over: slower, same pieces.
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
    return code;
}

/// Bytes of the valid UTF-8 sequence at the front (no overlong forms, no surrogates, nothing above U+10FFFF), or 0.
std::size_t sequence_length(const unsigned char* s, std::size_t size) {
    const auto continues = [&](std::size_t i) { return i < size && (s[i] & 0xc0) == 0x80; };
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) return continues(1) ? 2 : 0;
    if (s[0] >= 0xe0 && s[0] <= 0xef) {
        if (!continues(1) || !continues(2)) return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
        return 3;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        if (!continues(1) || !continues(2) || !continues(3)) return 0;
        if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
        return 4;
    }
    return 0;
}

/// Bytes of the longest front part that is valid UTF-8.
std::size_t valid_length(std::string_view text) {
    const auto* const s = reinterpret_cast<const unsigned char*>(text.data());
    std::size_t i = 0;
    while (i < text.size()) {
        std::uint64_t word = 0;
        if (i + 8 <= text.size() && (std::memcpy(&word, s + i, 8), (word & 0x8080808080808080) == 0)) {
            i += 8;  // plain ASCII
            continue;
        }
        const std::size_t length = sequence_length(s + i, text.size() - i);
        if (length == 0) return i;
        i += length;
    }
    return i;
}

std::size_t invalid_length(std::string_view text) {
    const auto* const s = reinterpret_cast<const unsigned char*>(text.data());
    std::size_t i = 0;
    while (i < text.size() && sequence_length(s + i, text.size() - i) == 0) ++i;
    return i;
}

}  // namespace

void split_gpt2(std::string_view text, const std::function<void(std::string_view)>& piece) {
    static const Code code = compile();  // immutable once made
    const MatchData match(pcre2_match_data_create_from_pattern(code.get(), nullptr), &pcre2_match_data_free);
    if (!match) throw std::bad_alloc();
    while (!text.empty()) {
        const std::string_view valid = text.substr(0, valid_length(text));
        for (std::size_t begin = 0; begin < valid.size();) {
            const int found = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(valid.data()), valid.size(), begin,
                                          PCRE2_NO_UTF_CHECK, match.get(), nullptr);
            if (found < 0) fail("A match", found);
            const std::size_t end = pcre2_get_ovector_pointer(match.get())[1];
            if (end <= begin) throw std::logic_error("GPT-2's split pattern matched an empty piece.");
            piece(valid.substr(begin, end - begin));
            begin = end;
        }
        text.remove_prefix(valid.size());
        if (const std::size_t length = invalid_length(text); length > 0) {
            piece(text.substr(0, length));
            text.remove_prefix(length);
        }
    }
}

}  // namespace smp::runtime
