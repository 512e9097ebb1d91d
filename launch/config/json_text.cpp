#include "launch/config/json_text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace smp::launch {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& message) {
    throw partition::ConfigError(partition::Problem{.key = file.string() + ':', .message = message});
}

// Far more than a configuration needs, and little enough to be read in no time.
constexpr std::size_t kLongestText = std::size_t{4} << 20;  // bytes
constexpr std::size_t kDeepest = 32;                        // objects and lists in each other
constexpr std::size_t kMostKeys = 2'000;

std::string contents(const std::filesystem::path& file) {
    const auto cannot_be_read = [&] {
        refuse(file, fmt::format("cannot be read: {}; name an existing file", std::strerror(errno)));
    };
    // Not blocking: the open of a named pipe would wait for its writer.
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) cannot_be_read();
    const auto close = [](const int* handle) { ::close(*handle); };
    const std::unique_ptr<const int, decltype(close)> owner(&descriptor, close);
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) cannot_be_read();
    if (S_ISDIR(status.st_mode)) refuse(file, "is a directory; name the configuration file in it");
    if (!S_ISREG(status.st_mode))
        refuse(file, "is no regular file (a device, pipe or socket); write the configuration into a file");
    std::string text(std::min<std::size_t>(kLongestText, static_cast<std::size_t>(status.st_size)) + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
        const ssize_t count = ::read(descriptor, text.data() + size, text.size() - size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) cannot_be_read();
        if (count == 0) break;
        size += static_cast<std::size_t>(count);
    }
    if (size > kLongestText)
        refuse(file, fmt::format("has {} bytes, where a configuration has at most {}; name the configuration file",
                                 status.st_size, kLongestText));
    text.resize(size);
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

/// Looks at a text before it is read into memory: keys that stand twice, and limits. nlohmann reads anything, and then
/// takes a stack frame a level.
class Inspector final : public Json::json_sax_t {
  public:
    Inspector(std::filesystem::path file, std::vector<partition::Problem>& problems)
        : file_(std::move(file)), problems_(problems) {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override {
        open_.push_back({});
        return go_deeper();
    }
    bool start_array(std::size_t) override { return go_deeper(); }
    bool end_object() override {
        open_.pop_back();
        return leave();
    }
    bool end_array() override { return leave(); }
    bool key(string_t& name) override {
        if (++keys_ > kMostKeys)
            refuse(file_, fmt::format("has more than {} keys; a configuration has about 100", kMostKeys));
        open_.back().current = name;
        if (!open_.back().keys.insert(name).second)
            problems_.push_back(
                {.key = path(), .message = "stands twice in the file; keep one of the two", .origin = file_.string()});
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  private:
    struct Object {
        std::set<std::string> keys = {};
        std::string current = {};
    };

    std::string path() const {
        std::string path;
        for (const Object& object : open_) path += (path.empty() ? "" : ".") + object.current;
        return path;
    }
    bool go_deeper() {
        if (++depth_ > kDeepest)
            refuse(file_, fmt::format("nests more than {} objects and lists in each other, where a configuration has "
                                      "three; it is no configuration",
                                      kDeepest));
        return true;
    }
    bool leave() {
        --depth_;
        return true;
    }

    std::filesystem::path file_;
    std::vector<partition::Problem>& problems_;
    std::vector<Object> open_;
    std::size_t depth_ = 0, keys_ = 0;
};

}  // namespace

Json read_json_object(const std::filesystem::path& file, std::vector<partition::Problem>& problems) {
    const std::string text = contents(file);
    Inspector inspector(file, problems);
    // What is wrong with the syntax is said below, with its place.
    Json::sax_parse(text, &inspector, Json::input_format_t::json, /*strict=*/true, /*ignore_comments=*/true);
    try {
        Json value = Json::parse(text, nullptr, /*allow_exceptions=*/true, /*ignore_comments=*/true);
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

Json parse_json_value(const std::string& text) {
    std::size_t depth = 0, deepest = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '"') {
            for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
        } else if (text[i] == '[' || text[i] == '{') {
            deepest = std::max(deepest, ++depth);
        } else if (text[i] == ']' || text[i] == '}') {
            depth -= depth > 0 ? 1 : 0;
        }
    }
    if (deepest > kDeepest) return Json(Json::value_t::discarded);
    return Json::parse(text, nullptr, /*allow_exceptions=*/false);
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
