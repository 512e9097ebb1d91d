// Whether a text is well-formed XML, as far as what this project writes goes: elements, attributes, references.
#pragma once

#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace smp::testing {

/// Nothing, or what is wrong and where. No comments, processing instructions or document types.
inline std::string fault_of_xml(std::string_view text) {
    std::vector<std::string> open;
    bool had_root = false;
    const auto at = [&](std::size_t i, const std::string& what) {
        return what + " at byte " + std::to_string(i) + ": " + std::string(text.substr(i, 40));
    };
    const auto references_fault = [&](std::string_view part) -> bool {
        for (std::size_t i = part.find('&'); i != std::string_view::npos; i = part.find('&', i + 1)) {
            const std::string_view rest = part.substr(i);
            bool is_known = false;
            for (const std::string_view known : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
                is_known = is_known || rest.starts_with(known);
            if (!is_known) return true;
        }
        for (const char c : part)
            if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') return true;
        return false;
    };
    std::size_t i = 0;
    while (i < text.size()) {
        if (text[i] != '<') {
            const std::size_t end = std::min(text.find('<', i), text.size());
            const std::string_view content = text.substr(i, end - i);
            if (references_fault(content)) return at(i, "a bad reference or character");
            if (open.empty() && content.find_first_not_of(" \n\t") != std::string_view::npos)
                return at(i, "text outside of the root");
            i = end;
            continue;
        }
        const bool closes = text.substr(i, 2) == "</";
        std::size_t p = i + (closes ? 2 : 1);
        std::string name;
        while (p < text.size() && (std::isalnum(static_cast<unsigned char>(text[p])) != 0 || text[p] == '-'))
            name += text[p++];
        if (name.empty()) return at(i, "no name");
        if (closes) {
            if (open.empty() || open.back() != name || text.substr(p, 1) != ">") return at(i, "a wrong end");
            open.pop_back();
            i = p + 1;
            continue;
        }
        if (open.empty() && had_root) return at(i, "a second root");
        had_root = true;
        std::vector<std::string> names;
        while (true) {
            const std::size_t before = p;
            while (p < text.size() && std::isspace(static_cast<unsigned char>(text[p])) != 0) ++p;
            if (text.substr(p, 1) == ">" || text.substr(p, 2) == "/>") break;
            if (p == before) return at(p, "no space ahead of an attribute");
            std::string attribute;
            while (p < text.size() && (std::isalnum(static_cast<unsigned char>(text[p])) != 0 || text[p] == '-'))
                attribute += text[p++];
            if (attribute.empty() || text.substr(p, 2) != "=\"") return at(p, "no attribute");
            for (const std::string& other : names)
                if (other == attribute) return at(p, "an attribute twice");
            names.push_back(attribute);
            const std::size_t end = text.find('"', p + 2);
            if (end == std::string_view::npos) return at(p, "no end of a value");
            const std::string_view value = text.substr(p + 2, end - p - 2);
            if (references_fault(value) || value.find('<') != std::string_view::npos) return at(p, "a bad value");
            p = end + 1;
        }
        const bool is_empty = text[p] == '/';
        if (!is_empty) open.push_back(name);
        i = p + (is_empty ? 2 : 1);
    }
    if (!open.empty()) return "no end of <" + open.back() + ">";
    return had_root ? "" : "no root";
}

}  // namespace smp::testing
