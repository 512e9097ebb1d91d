#include "partition/foresight/markup.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace smp::partition {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

/// Bytes of the character of more than one byte that `text` begins with; 0: it is none.
std::size_t length_of_character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const std::size_t length = byte(0) >= 0xf0 && byte(0) < 0xf5   ? 4
                               : byte(0) >= 0xe0 && byte(0) < 0xf0 ? 3
                               : byte(0) >= 0xc2 && byte(0) < 0xe0 ? 2
                                                                   : 0;
    if (length == 0 || text.size() < length) return 0;
    constexpr std::array<unsigned, 5> kFirstBits = {0, 0, 0x1f, 0x0f, 0x07};
    std::uint32_t code = byte(0) & kFirstBits.at(length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) return 0;
        code = code << 6U | (byte(i) & 0x3fU);
    }
    constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
    const bool is_no_character = (code >= 0xd800 && code < 0xe000) || code == 0xfffe || code == 0xffff ||
                                 code > 0x10ffff || (code >= 0x80 && code < 0xa0);
    return code < kLeast.at(length) || is_no_character ? 0 : length;
}

}  // namespace

std::string markup_text(std::string_view text) {
    std::string safe;
    while (!text.empty()) {
        const char first = text.front();
        std::size_t taken = 1;
        switch (first) {
            case '&': safe += "&amp;"; break;
            case '<': safe += "&lt;"; break;
            case '>': safe += "&gt;"; break;
            case '"': safe += "&quot;"; break;
            case '\'': safe += "&#39;"; break;
            case '\n':
            case '\t': safe += first; break;
            default:
                if (static_cast<unsigned char>(first) >= 0x80) {
                    const std::size_t length = length_of_character(text);
                    safe += length > 0 ? text.substr(0, length) : kReplacement;
                    taken = length > 0 ? length : 1;
                } else if (static_cast<unsigned char>(first) < 0x20 || first == 0x7f) {
                    safe += kReplacement;
                } else {
                    safe += first;
                }
        }
        text.remove_prefix(taken);
    }
    return safe;
}

}  // namespace smp::partition
