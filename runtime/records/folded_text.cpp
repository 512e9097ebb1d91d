#include "runtime/records/folded_text.h"

#include <algorithm>

namespace smp::runtime {

namespace {

std::size_t characters_of(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80; }));
}

}  // namespace

std::string folded(std::string_view text, std::size_t columns, std::size_t indent) {
    if (columns == 0) return std::string(text);
    const std::string margin(std::min(indent, columns * 2 / 3), ' ');
    std::string all;
    std::size_t used = 0;   // of the line
    bool has_word = false;  // the line
    std::size_t begin = 0;
    while (begin < text.size()) {
        // A word with the spaces before it.
        const std::size_t word = std::min(text.find_first_not_of(' ', begin), text.size());
        const std::size_t end = std::min(text.find_first_of(" \n", word), text.size());
        const std::size_t length = characters_of(text.substr(begin, end - begin));
        if (has_word && used + length > columns && word < end) {
            all += '\n' + margin;
            used = margin.size();
            begin = word;
        }
        all += text.substr(begin, end - begin);
        used += characters_of(text.substr(begin, end - begin));
        has_word = has_word || word < end;
        begin = end;
        if (begin < text.size() && text[begin] == '\n') {
            all += '\n';
            used = 0;
            has_word = false;
            ++begin;
        }
    }
    return all;
}

}  // namespace smp::runtime
