#include "runtime/records/fields_from_json.h"

#include <nlohmann/json.hpp>

#include "runtime/files/data_error.h"

namespace smp::runtime {

namespace {

using Json = nlohmann::json;

/// A value in a message: escaped, and cut where it is long.
std::string shown(const Json& value) {
    constexpr std::size_t kMost = 60;
    std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
    if (text.size() > kMost) text = text.substr(0, kMost) + " ...";
    return text;
}

/// The parser's own sentence without its prefix and position.
std::string reason(const std::string& what) {
    const auto detail = what.find(" - ");
    if (detail != std::string::npos) return what.substr(detail + 3);
    const auto colon = what.rfind(": ");
    return colon == std::string::npos ? what : what.substr(colon + 2);
}

/// Takes the parser's events. A frame is an object or a list that has begun and not ended.
class Reader final : public JsonPlace, public nlohmann::json_sax<Json> {
  public:
    Reader(std::string origin, const JsonForm& form, void* value) : origin_(std::move(origin)), root_{&form, value} {}

    [[noreturn]] void refuse(const std::string& what) const override {
        const std::string place = path();
        throw DataError(fmt::format("{}: {}{}{}", origin_, place, place.empty() ? "" : " ", what));
    }

    bool null() override {
        next();
        wrong("null");
    }
    bool boolean(bool value) override {
        const Target target = next();
        if (!target.form->flag || !target.form->flag(target.value, value)) wrong(shown(value));
        return true;
    }
    bool number_integer(std::int64_t value) override { return integer(value); }
    bool number_unsigned(std::uint64_t value) override {
        if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return big(value);
        return integer(static_cast<std::int64_t>(value));
    }
    bool number_float(double value, const std::string& text) override {
        const Target target = next();
        if (!target.form->real || !target.form->real(target.value, value)) wrong(text.substr(0, 30));
        return true;
    }
    bool string(std::string& value) override {
        const Target target = next();
        if (!target.form->text || !target.form->text(target.value, value)) wrong(shown(value));
        return true;
    }
    bool binary(Json::binary_t&) override { wrong("binary data"); }

    bool start_object(std::size_t) override {
        const Target target = next();
        if (!target.form->is_object) wrong("an object");
        frames_.push_back({.target = target, .seen = std::vector<bool>(target.form->members.size())});
        if (target.form->begin) target.form->begin(target.value, *this);
        return true;
    }
    bool key(std::string& name) override {
        Frame& frame = frames_.back();
        const auto& members = frame.target.form->members;
        const auto found = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.name == name; });
        frame.member = nullptr;
        if (found == members.end())
            refuse(
                fmt::format("has {}, which is unknown here; it must be {}", shown(name), frame.target.form->expected));
        frame.member = &*found;
        const auto index = static_cast<std::size_t>(found - members.begin());
        if (frame.seen[index]) refuse("stands there twice; only one of them can be meant");
        frame.seen[index] = true;
        return true;
    }
    bool end_object() override {
        Frame& frame = frames_.back();
        frame.member = nullptr;
        const JsonForm& form = *frame.target.form;
        for (std::size_t i = 0; i < form.members.size(); ++i)
            if (form.members[i].required && !frame.seen[i])
                refuse(fmt::format("has no \"{}\"; it must be {}", form.members[i].name, form.expected));
        if (form.end) form.end(frame.target.value, *this);
        frames_.pop_back();
        return true;
    }
    bool start_array(std::size_t) override {
        const Target target = next();
        if (!target.form->add) wrong("a list");
        frames_.push_back({.target = target});
        return true;
    }
    bool end_array() override {
        const Frame frame = std::move(frames_.back());
        frames_.pop_back();
        if (frame.items < frame.target.form->least_items)
            refuse(fmt::format("has {} entries; it must be {}", frame.items, frame.target.form->expected));
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
        throw DataError(fmt::format("{}: byte {}: not JSON, or not all of it: {}", origin_, position,
                                    reason(error.what()).substr(0, 200)));
    }

  private:
    struct Target {
        const JsonForm* form;
        void* value;
    };
    struct Frame {
        Target target;
        std::vector<bool> seen = {};               // by member of an object
        const JsonForm::Member* member = nullptr;  // of an object: whose value is next, or was last
        std::size_t items = 0;                     // of a list: how many have begun
    };

    /// Where the value that begins here goes.
    Target next() {
        if (frames_.empty()) return root_;
        Frame& frame = frames_.back();
        const JsonForm& form = *frame.target.form;
        if (form.is_object) return {frame.member->form, frame.member->in(frame.target.value)};
        void* const item = form.add(frame.target.value, frame.items++);
        if (item == nullptr) {
            const std::string expected = form.expected;
            frames_.pop_back();
            refuse("has more entries; it must be " + expected);
        }
        return {form.item, item};
    }
    /// next() has been called for it.
    [[noreturn]] void wrong(const std::string& value) const {
        if (frames_.empty()) refuse(fmt::format("holds {}; it must be {}", value, root_.form->expected));
        const Frame& frame = frames_.back();
        const JsonForm& form = frame.target.form->is_object ? *frame.member->form : *frame.target.form->item;
        refuse(fmt::format("= {}: must be {}", value, form.expected));
    }
    bool integer(std::int64_t value) {
        const Target target = next();
        if (!target.form->integer || !target.form->integer(target.value, value)) wrong(std::to_string(value));
        return true;
    }
    bool big(std::uint64_t value) {
        const Target target = next();
        if (!target.form->real || !target.form->real(target.value, static_cast<double>(value)))
            wrong(std::to_string(value));
        return true;
    }
    std::string path() const {
        std::string text;
        for (const Frame& frame : frames_) {
            if (!frame.target.form->is_object && frame.items > 0) {
                text += fmt::format("[{}]", frame.items - 1);
            } else if (frame.member != nullptr) {
                if (!text.empty()) text += '.';
                text += frame.member->name;
            }
        }
        return text;
    }

    std::string origin_;
    Target root_;
    std::vector<Frame> frames_;
};

}  // namespace

void read_json(std::istream& text, const std::string& origin, const JsonForm& form, void* value) {
    Reader reader(origin, form, value);
    Json::sax_parse(text, &reader);
    if (text.bad()) throw DataError(fmt::format("{}: cannot be read to its end", origin));
}

}  // namespace smp::runtime
