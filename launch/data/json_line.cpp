#include "launch/data/json_line.h"

#include <cctype>
#include <cstddef>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::launch {
namespace {

/// Thrown and caught in this file: what is wrong, and where.
struct Broken {
    std::string why;
};

class Reader {
  public:
    explicit Reader(std::string_view text) : text_(text) {}

    /// The next character that is no white space, which stays; 0 at the end.
    char peek() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
        return at_ < text_.size() ? text_[at_] : '\0';
    }
    bool take(char wanted) {
        if (peek() != wanted) return false;
        ++at_;
        return true;
    }
    void need(char wanted) {
        if (!take(wanted)) throw Broken{fmt::format("has no '{}' at column {}", wanted, at_ + 1)};
    }
    /// A string with its quotes, as it stands.
    std::string_view quoted() {
        const std::size_t begin = at_;
        need('"');
        while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
        if (at_ >= text_.size())
            throw Broken{fmt::format("has a string from column {} on that does not end", begin + 1)};
        ++at_;
        return text_.substr(begin, at_ - begin);
    }
    /// Any value; what is inside has to be balanced only.
    void skip_value() {
        std::string open;  // the brackets that are still to come
        do {
            const char next = peek();
            if (next == '"') {
                quoted();
            } else if (next == '{' || next == '[') {
                open.push_back(next == '{' ? '}' : ']');
                ++at_;
            } else if (!open.empty() && next == open.back()) {
                open.pop_back();
                ++at_;
            } else if (!open.empty() && (next == ',' || next == ':')) {
                ++at_;
            } else {
                skip_word();
            }
        } while (!open.empty());
    }
    std::size_t column() const { return at_ + 1; }

  private:
    /// A number, true, false, null, NaN, Infinity.
    void skip_word() {
        const std::size_t begin = at_;
        const auto is_part = [](char c) {
            return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '+' || c == '.';
        };
        while (at_ < text_.size() && is_part(text_[at_])) ++at_;
        if (at_ == begin) throw Broken{fmt::format("is not JSON at column {}", begin + 1)};
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

std::optional<std::string> decoded(std::string_view quoted) {
    const nlohmann::json value = nlohmann::json::parse(quoted, nullptr, /*allow_exceptions=*/false);
    if (!value.is_string()) return std::nullopt;
    return value.get<std::string>();
}

}  // namespace

JsonLine read_json_line(std::string_view line, std::string_view key) {
    JsonLine found;
    try {
        Reader reader(line);
        reader.need('{');
        bool first = true;
        while (!reader.take('}')) {
            if (!std::exchange(first, false)) reader.need(',');
            reader.peek();
            const bool is_key = decoded(reader.quoted()) == key;
            reader.need(':');
            if (is_key && reader.peek() == '"') {
                const std::size_t column = reader.column();
                found.text = decoded(reader.quoted());
                if (!found.text) {
                    throw Broken{
                        fmt::format("has text from column {} on that is no Unicode (half of a surrogate pair, "
                                    "or bytes that are not UTF-8)",
                                    column)};
                }
            } else {
                if (is_key) found.text.reset();
                reader.skip_value();
            }
        }
        if (reader.peek() != '\0')
            throw Broken{fmt::format("goes on behind its object, at column {}", reader.column())};
    } catch (const Broken& broken) {
        return {.text = std::nullopt, .problem = broken.why};
    }
    return found;
}

}  // namespace smp::launch
