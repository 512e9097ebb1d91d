// Values with tables of fields (partition/job/fields.h) as JSON text, written as it is made: nothing is held but the
// text of one line.
#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "partition/job/fields.h"
#include "partition/job/words.h"

namespace smp::runtime {

/// Takes a text piece by piece.
using TextSink = std::function<void(std::string_view)>;

/// What is written of a value beside its fields: nothing. A writer's own notes inherit these and add overloads.
struct NoNotes {
    /// Before the first field.
    template <typename Value>
    void begin(const Value&) {}
    /// After the last: `member(name, value)` for each one more.
    template <typename Value, typename Member>
    void end(const Value&, const Member&) {}
};

/// Whether values of a type stand on one line: whatever has no list of values with fields in it.
template <typename Value>
consteval bool is_one_line() {
    if constexpr (partition::HasFields<Value>) {
        bool all = true;
        partition::for_each_field<Value>([&](const auto& field) {
            all = all && is_one_line<std::remove_cvref_t<decltype(std::declval<Value>().*field.member)>>();
        });
        return all;
    } else if constexpr (partition::IsList<Value>) {
        return !partition::HasFields<typename Value::value_type>;
    } else {
        return true;
    }
}

/// Numbers in their shortest form that reads back equal, enumerations by their words, fields in the order of their
/// tables; an item of a list of values with fields on a line of its own.
template <typename Notes = NoNotes>
class FieldsToJson {
  public:
    /// `depth`: how far the text is indented already.
    explicit FieldsToJson(TextSink write, int depth = 0, Notes notes = {})
        : write_(std::move(write)), depth_(depth), notes_(std::move(notes)) {}
    ~FieldsToJson() = default;
    FieldsToJson(const FieldsToJson&) = delete;
    FieldsToJson& operator=(const FieldsToJson&) = delete;

    /// An object whose members the caller names, each on lines of its own.
    template <typename Members>
    void object(const Members& members) {
        Object object(*this, /*is_one_line=*/false);
        members([&](std::string_view name, const auto& value) { object.member(name, value); });
        object.close();
    }

    /// The members of a value's own object, for one that has more.
    template <typename Value, typename Member>
    void members_of(const Value& value, const Member& member) {
        notes_.begin(value);
        partition::for_each_field<Value>([&](const auto& field) {
            if (!partition::is_left_out(field, value)) member(field.name, value.*field.member);
        });
        notes_.end(value, member);
    }

    template <typename Value>
    void add(const Value& value) {
        if constexpr (std::is_invocable_v<const Value&>) {
            value();  // writes itself
        } else if constexpr (partition::HasFields<Value>) {
            Object object(*this, is_one_line<Value>());
            members_of(value, [&](std::string_view name, const auto& part) { object.member(name, part); });
            object.close();
        } else if constexpr (partition::IsList<Value> || partition::kIsArray<Value>) {
            list(value);
        } else if constexpr (partition::IsId<Value>) {
            number(value.number());
        } else if constexpr (std::is_enum_v<Value>) {
            text(partition::Words<Value>::list.at(static_cast<std::size_t>(value)));
        } else if constexpr (std::is_arithmetic_v<Value>) {
            number(value);
        } else {
            text(value);
        }
    }

    /// Hands on what has not been yet.
    void flush() {
        write_(line_);
        line_.clear();
    }

  private:
    class Object {
      public:
        Object(FieldsToJson& json, bool is_one_line) : json_(json), is_one_line_(is_one_line) {
            json_.line_ += '{';
            ++json_.depth_;
        }
        template <typename Value>
        void member(std::string_view name, const Value& value) {
            if (!is_first_) json_.line_ += is_one_line_ ? ", " : ",";
            if (!is_one_line_) json_.new_line();
            is_first_ = false;
            json_.text(name);
            json_.line_ += ": ";
            json_.add(value);
        }
        void close() {
            --json_.depth_;
            if (!is_one_line_ && !is_first_) json_.new_line();
            json_.line_ += '}';
        }

      private:
        FieldsToJson& json_;
        bool is_one_line_;
        bool is_first_ = true;
    };

    template <typename List>
    void list(const List& items) {
        constexpr bool kOneLine = is_one_line<List>();
        bool is_first = true;
        line_ += '[';
        ++depth_;
        for (const auto& item : items) {
            if (!is_first) line_ += kOneLine ? ", " : ",";
            if (!kOneLine) new_line();
            is_first = false;
            add(item);
        }
        --depth_;
        if (!kOneLine && !is_first) new_line();
        line_ += ']';
    }
    template <typename Number>
    void number(Number value) {
        fmt::format_to(std::back_inserter(line_), "{}", value);
    }
    void text(std::string_view text) {
        // Names are the rule; the rest is the library's.
        const bool is_plain = std::all_of(text.begin(), text.end(),
                                          [](unsigned char c) { return c >= ' ' && c < 127 && c != '"' && c != '\\'; });
        if (!is_plain) {
            line_ += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
            return;
        }
        line_ += '"';
        line_ += text;
        line_ += '"';
    }
    void new_line() {
        if (line_.size() > kPiece) flush();
        line_ += '\n';
        line_.append(static_cast<std::size_t>(depth_), ' ');
    }

    static constexpr std::size_t kPiece = 1U << 16;
    TextSink write_;
    int depth_;
    Notes notes_;
    std::string line_;
};

}  // namespace smp::runtime
