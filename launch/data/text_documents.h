// Where one document of a text ends and the next begins.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>

#include "partition/job/words.h"

namespace smp::launch {

/// file: all of it. line: each line that is not blank, without its line break. paragraph: what stands between blank
/// lines (empty, or of white space only), without the last line break. Lines end in LF or CRLF. jsonl: each line is a
/// JSON object that has the text under a key.
enum class DocumentRule { file, line, paragraph, jsonl };

struct DocumentCut {
    DocumentRule rule = DocumentRule::file;
    std::string json_key = "text";
};

/// Calls `document` for each, in order. `source` names the text in messages. Throws runtime::DataError for a line that
/// is no JSON object or has no text under the key.
void for_each_document(std::string_view text, const DocumentCut& cut, std::string_view source,
                       const std::function<void(std::string_view)>& document);

}  // namespace smp::launch

namespace smp::partition {

template <>
struct Words<launch::DocumentRule> {
    static constexpr std::array<std::string_view, 4> list = {"file", "line", "paragraph", "jsonl"};
};

}  // namespace smp::partition
