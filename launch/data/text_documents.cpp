#include "launch/data/text_documents.h"

#include <cstddef>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "launch/data/json_line.h"
#include "runtime/files/data_error.h"

namespace smp::launch {
namespace {

bool blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == text.npos; }

void for_each_part(std::string_view text, std::string_view separator,
                   const std::function<void(std::string_view)>& part) {
    for (;;) {
        const std::size_t end = text.find(separator);
        part(text.substr(0, end));
        if (end == text.npos) return;
        text.remove_prefix(end + separator.size());
    }
}

std::string text_of(std::string_view line, std::size_t number, const std::string& key, std::string_view source) {
    JsonLine found = read_json_line(line, key);
    if (!found.problem.empty()) {
        throw runtime::DataError(
            fmt::format("\"{}\", line {}: this is no JSON object, it {}; --documents jsonl takes one a line.", source,
                        number, found.problem));
    }
    if (!found.text) {
        throw runtime::DataError(fmt::format(
            "\"{}\", line {}: the object has no text under \"{}\"; name the key by --json-key.", source, number, key));
    }
    return *std::move(found.text);
}

/// From the first line that is not blank to the last one before a blank line or the end, without its line break.
void for_each_paragraph(std::string_view text, const std::function<void(std::string_view)>& paragraph) {
    std::optional<std::size_t> begin;
    std::size_t end = 0;
    for_each_part(text, "\n", [&](std::string_view line) {
        const auto at = static_cast<std::size_t>(line.data() - text.data());
        if (!blank(line)) {
            if (!begin) begin = at;
            end = at + line.size() - (line.ends_with('\r') ? 1 : 0);
        } else if (begin) {
            paragraph(text.substr(*begin, end - *begin));
            begin.reset();
        }
    });
    if (begin) paragraph(text.substr(*begin, end - *begin));
}

}  // namespace

void for_each_document(std::string_view text, const DocumentCut& cut, std::string_view source,
                       const std::function<void(std::string_view)>& document) {
    std::size_t number = 0;
    switch (cut.rule) {
        case DocumentRule::file: document(text); return;
        case DocumentRule::paragraph: for_each_paragraph(text, document); return;
        case DocumentRule::line:
        case DocumentRule::jsonl:
            if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark is no part of the first
            for_each_part(text, "\n", [&](std::string_view line) {
                ++number;
                if (line.ends_with('\r')) line.remove_suffix(1);
                if (blank(line)) return;
                document(cut.rule == DocumentRule::line ? line : text_of(line, number, cut.json_key, source));
            });
            return;
    }
}

}  // namespace smp::launch
