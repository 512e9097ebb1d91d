#include "launch/generate/text_output.h"

#include <algorithm>
#include <cstddef>

#include "launch/command/standard_output.h"
#include "runtime/files/shown_text.h"

namespace smp::launch {
namespace {

/// Bytes at the end that may be the beginning of a UTF-8 character.
std::size_t open_bytes(std::string_view text) {
    constexpr std::size_t kLongest = 4;
    for (std::size_t back = 1; back <= std::min(kLongest - 1, text.size()); ++back) {
        const auto byte = static_cast<unsigned char>(text[text.size() - back]);
        if ((byte & 0xc0) == 0x80) continue;  // inside of one
        const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

}  // namespace

void TextOutput::write(std::string_view bytes) {
    if (!is_terminal_) return write_standard_output(bytes);
    held_ += bytes;
    const std::size_t whole = held_.size() - open_bytes(held_);
    write_standard_output(runtime::escaped(std::string_view(held_).substr(0, whole)));
    held_.erase(0, whole);
}

void TextOutput::end_line() {
    write_standard_output(runtime::escaped(held_) + "\n");
    held_.clear();
}

}  // namespace smp::launch
