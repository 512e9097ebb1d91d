// Values with tables of fields (partition/job/fields.h) back out of JSON text. The text is read once, from front to
// end, straight into the value: what does not belong is refused where it stands, however much of it there is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <istream>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/job/fields.h"
#include "partition/job/words.h"

namespace smp::runtime {

/// Where a reader is: "training[0].actions[3].bytes". refuse() throws DataError about that place.
class JsonPlace {
  public:
    virtual ~JsonPlace() = default;
    [[noreturn]] virtual void refuse(const std::string& what) const = 0;
};

/// What may stand at a place in the text, and how it goes into the value that is behind the pointer. What has no
/// function is refused.
struct JsonForm {
    using Hook = std::function<void(void*, const JsonPlace&)>;
    struct Member {
        std::string name;
        const JsonForm* form;
        std::function<void*(void*)> in;  // where the member is in its owner
        bool required;
    };

    std::string expected;                              // completes "must be …"
    std::function<bool(void*, std::int64_t)> integer;  // whether it is one of those expected
    std::function<bool(void*, double)> real;
    std::function<bool(void*, bool)> flag;
    std::function<bool(void*, const std::string&)> text;
    std::function<void*(void*, std::size_t)> add;  // a list's item so many; null if there is no room for it
    const JsonForm* item = nullptr;
    std::size_t least_items = 0;
    bool is_object = false;
    std::vector<Member> members = {};
    Hook begin = {}, end = {};  // of an object
};

/// The form of every type with a table, and of what such tables are made of. Forms live as long as this.
class JsonForms {
  public:
    template <typename Value>
    JsonForm& of() {
        auto& form = forms_[typeid(Value)];
        if (form) return *form;
        form = std::make_unique<JsonForm>();
        describe<Value>(*form);
        return *form;
    }
    /// One that belongs to no type.
    JsonForm& add(JsonForm form) { return *others_.emplace_back(std::make_unique<JsonForm>(std::move(form))); }

  private:
    template <typename Value>
    void describe(JsonForm& form) {
        using Limits = std::numeric_limits<Value>;
        const auto to = [](void* value) -> Value& { return *static_cast<Value*>(value); };
        if constexpr (partition::HasFields<Value>) {
            form.is_object = true;
            std::vector<std::string_view> names;
            partition::for_each_field<Value>([&](const auto& field) {
                using Part = std::remove_cvref_t<decltype(std::declval<Value>().*field.member)>;
                const auto in = [to, member = field.member](void* value) -> void* { return &(to(value).*member); };
                form.members.push_back({std::string(field.name), &of<Part>(), in, field.always});
                names.push_back(field.name);
            });
            form.expected = fmt::format("an object of {}", fmt::join(names, ", "));
        } else if constexpr (partition::IsList<Value>) {
            form.expected = "a list";
            form.item = &of<typename Value::value_type>();
            form.add = [to](void* list, std::size_t) -> void* {
                to(list).push_back(typename Value::value_type{});
                return &to(list).back();
            };
        } else if constexpr (partition::kIsArray<Value>) {
            static constexpr std::size_t kSize = std::tuple_size_v<Value>;
            form.expected = fmt::format("a list of {} entries", kSize);
            form.item = &of<typename Value::value_type>();
            form.least_items = kSize;
            form.add = [to](void* array, std::size_t i) -> void* { return i < kSize ? &to(array)[i] : nullptr; };
        } else if constexpr (partition::IsId<Value>) {
            form.expected = "the number of one, from 0, or -1 for none";
            form.integer = [to](void* value, std::int64_t number) {
                if (number < -1 || number > std::numeric_limits<int>::max()) return false;
                to(value) = Value(static_cast<int>(number));
                return true;
            };
        } else if constexpr (std::is_enum_v<Value>) {
            form.expected = fmt::format("one of {}", fmt::join(partition::Words<Value>::list, ", "));
            form.text = [to](void* value, const std::string& word) {
                const auto& words = partition::Words<Value>::list;
                const auto found = std::find(words.begin(), words.end(), word);
                if (found == words.end()) return false;
                to(value) = static_cast<Value>(found - words.begin());
                return true;
            };
        } else if constexpr (std::is_same_v<Value, bool>) {
            form.expected = "true or false";
            form.flag = [to](void* value, bool flag) {
                to(value) = flag;
                return true;
            };
        } else if constexpr (std::is_integral_v<Value>) {
            form.expected = fmt::format("a whole number from {} to {}", Limits::lowest(), Limits::max());
            form.integer = [to](void* value, std::int64_t number) {
                if (!std::in_range<Value>(number)) return false;
                to(value) = static_cast<Value>(number);
                return true;
            };
        } else if constexpr (std::is_floating_point_v<Value>) {
            form.expected = "a number";
            form.real = [to](void* value, double number) {
                to(value) = number;
                return true;
            };
            form.integer = [to](void* value, std::int64_t number) {
                to(value) = static_cast<Value>(number);
                return true;
            };
        } else {
            form.expected = "a text";
            form.text = [to](void* value, const std::string& text) {
                to(value) = text;
                return true;
            };
        }
    }

    std::map<std::type_index, std::unique_ptr<JsonForm>> forms_;
    std::vector<std::unique_ptr<JsonForm>> others_;
};

/// Reads the whole text into the value behind `value`, whose form is `form`. Throws DataError that begins with
/// `origin`: for what is no JSON (and at which byte), a member that is unknown, missing or there twice, a value of
/// another type or out of range, each with its path and value. Linear in the text; holds nothing of it but the value.
void read_json(std::istream& text, const std::string& origin, const JsonForm& form, void* value);

}  // namespace smp::runtime
