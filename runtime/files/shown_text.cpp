#include "runtime/files/shown_text.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "runtime/files/utf8.h"

namespace smp::runtime {
namespace {

constexpr std::size_t kLongestLine = 1500;  // bytes
constexpr std::size_t kMostLines = 40;

/// U+0080 … U+009F, and what overrides the direction of text (U+200E, U+200F, U+202A … U+202E, U+2066 … U+2069).
bool is_hidden(std::string_view character) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
    if (character.size() == 2) return byte(0) == 0xc2 && byte(1) < 0xa0;
    if (character.size() != 3 || byte(0) != 0xe2) return false;
    if (byte(1) == 0x80) return (byte(2) >= 0xaa && byte(2) <= 0xae) || byte(2) == 0x8e || byte(2) == 0x8f;
    return byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9;
}

/// The next place at or after `at` where a character begins.
std::size_t next_boundary(std::string_view text, std::size_t at) {
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
    return at;
}

std::string shortened(std::string_view line) {
    if (line.size() <= kLongestLine) return std::string(line);
    const std::size_t front = next_boundary(line, kLongestLine * 2 / 3);
    const std::size_t back = next_boundary(line, line.size() - kLongestLine / 3);
    return fmt::format("{} [... {} bytes ...] {}", line.substr(0, front), back - front, line.substr(back));
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string shown;
    shown.reserve(text.size());
    while (!text.empty()) {
        const auto first = static_cast<unsigned char>(text.front());
        const std::size_t length = utf8_length(text);
        const std::string_view character = text.substr(0, std::max<std::size_t>(1, length));
        const bool is_control = (first < 0x20 && first != '\n' && first != '\t') || first == 0x7f;
        if (length == 0 || is_control || is_hidden(character)) {
            for (const char byte : character) shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
        } else {
            shown += character;
        }
        text.remove_prefix(character.size());
    }
    return shown;
}

std::string readable_message(std::string_view text) {
    std::string message;
    for (std::size_t lines = 0; !text.empty(); ++lines) {
        if (lines == kMostLines) {
            const auto more = std::count(text.begin(), text.end(), '\n') + 1;
            return message + fmt::format("\n... and {} more line{}", more, more == 1 ? "" : "s");
        }
        const std::size_t end = std::min(text.find('\n'), text.size());
        if (lines > 0) message += '\n';
        message += shortened(escaped(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return message;
}

}  // namespace smp::runtime
