#include "launch/config/json_text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

#include <fmt/format.h>

namespace smp::launch {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& message) {
    throw partition::ConfigError(partition::Problem{.key = file.string() + ':', .message = message});
}

std::string contents(const std::filesystem::path& file) {
    std::error_code error;
    if (std::filesystem::is_directory(file, error)) refuse(file, "is a directory; name the configuration file in it");
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    if (!stream.is_open() || stream.bad()) {
        refuse(file, fmt::format("cannot be read: {}; name an existing file", std::strerror(errno != 0 ? errno : EIO)));
    }
    return text;
}

/// "line 3, column 14" of the byte before `end`.
std::string place(const std::string& text, std::size_t end) {
    const auto last = text.begin() + static_cast<std::ptrdiff_t>(std::min(end == 0 ? 0 : end - 1, text.size()));
    const auto line = 1 + std::count(text.begin(), last, '\n');
    const auto start = std::find(std::make_reverse_iterator(last), text.rend(), '\n').base();
    return fmt::format("line {}, column {}", line, last - start + 1);
}

/// The parser's own sentence without its prefix and position.
std::string reason(const std::string& what) {
    const auto detail = what.find(" - ");
    if (detail != std::string::npos) return what.substr(detail + 3);
    const auto colon = what.rfind(": ");
    return colon == std::string::npos ? what : what.substr(colon + 2);
}

bool is_after_comma(const std::string& text, std::size_t end) {
    if (end < 2 || end > text.size() || (text[end - 1] != '}' && text[end - 1] != ']')) return false;
    const auto before = text.find_last_not_of(" \t\r\n", end - 2);
    return before != std::string::npos && text[before] == ',';
}

/// Remembers the keys of every object that is open while the parser walks through the text.
class DuplicateFinder {
  public:
    DuplicateFinder(std::string origin, std::vector<partition::Problem>& problems)
        : origin_(std::move(origin)), problems_(problems) {}

    void see(Json::parse_event_t event, const Json& parsed) {
        if (event == Json::parse_event_t::object_start) open_.push_back({});
        if (event == Json::parse_event_t::object_end) open_.pop_back();
        if (event != Json::parse_event_t::key) return;
        open_.back().current = parsed.get<std::string>();
        if (open_.back().keys.insert(open_.back().current).second) return;
        std::string path;
        for (const Object& object : open_) path += (path.empty() ? "" : ".") + object.current;
        problems_.push_back(
            {.key = path, .message = "stands twice in the file; keep one of the two", .origin = origin_});
    }

  private:
    struct Object {
        std::set<std::string> keys = {};
        std::string current = {};
    };
    std::string origin_;
    std::vector<partition::Problem>& problems_;
    std::vector<Object> open_;
};

}  // namespace

Json read_json_object(const std::filesystem::path& file, std::vector<partition::Problem>& problems) {
    const std::string text = contents(file);
    DuplicateFinder duplicates(file.string(), problems);
    const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
        duplicates.see(event, parsed);
        return true;
    };
    try {
        Json value = Json::parse(text, watch, /*allow_exceptions=*/true, /*ignore_comments=*/true);
        if (!value.is_object()) {
            refuse(file, fmt::format("holds {}; a configuration is an object, {{ \"model\": {{ … }}, … }}",
                                     shown_json(value)));
        }
        return value;
    } catch (const Json::parse_error& error) {
        refuse(file, fmt::format("{}: not JSON: {}{}", place(text, error.byte), reason(error.what()),
                                 is_after_comma(text, error.byte) ? "; remove the comma before it" : ""));
    } catch (const Json::out_of_range& error) {
        refuse(file, "a number is too large for a double: " + reason(error.what()));
    }
}

std::string shown_json(const Json& value) {
    constexpr std::size_t most = 80;
    std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() <= most) return text;
    const auto boundary = [&](std::size_t at) {  // never inside a character of several bytes
        while ((static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
        return at;
    };
    return text.substr(0, boundary(most / 2)) + " ... " + text.substr(boundary(text.size() - most / 4));
}

}  // namespace smp::launch
