#include "launch/data/text_documents.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
        throw runtime::DataError(fmt::format(
            "\"{}\", line {}: this is no JSON object; --documents jsonl takes one a line.", source, number));
    }
    if (!object.contains(key) || !object[key].is_string()) {
        throw runtime::DataError(fmt::format(
            "\"{}\", line {}: the object has no text under \"{}\"; name the key by --json-key.", source, number, key));
    }
    return object[key].get<std::string>();
}

}  // namespace

void for_each_document(std::string_view text, const DocumentCut& cut, std::string_view source,
                       const std::function<void(std::string_view)>& document) {
    std::size_t number = 0;
    switch (cut.rule) {
        case DocumentRule::file: document(text); return;
        case DocumentRule::paragraph:
            for_each_part(text, "\n\n", [&](std::string_view part) {
                if (!blank(part)) document(part);
            });
            return;
        case DocumentRule::line:
        case DocumentRule::jsonl:
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
