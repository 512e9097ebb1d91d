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

#include "runtime/files/utf8.h"

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

/// Bytes of the longest front part that is valid UTF-8.
std::size_t valid_length(std::string_view text) {
    std::size_t i = 0;
    while (i < text.size()) {
        std::uint64_t word = 0;
        if (i + 8 <= text.size() && (std::memcpy(&word, text.data() + i, 8), (word & 0x8080808080808080) == 0)) {
            i += 8;  // plain ASCII
            continue;
        }
        const std::size_t length = utf8_length(text.substr(i));
        if (length == 0) return i;
        i += length;
    }
    return i;
}

std::size_t invalid_length(std::string_view text) {
    std::size_t i = 0;
    while (i < text.size() && utf8_length(text.substr(i)) == 0) ++i;
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
