// The hash by which ranks compare plans.
#include <charconv>
#include <string_view>

#include "partition/plan/plan.h"

namespace smp::partition {
namespace {

/// FNV-1a over "value;" of what is one value, "name=…" of each field and "}" behind the last one, "count:…" of lists.
class Hash {
  public:
    template <typename Value>
    void add(const Value& value) {
        if constexpr (HasFields<Value>) {
            for_each_field<Value>([&](const auto& field) {
                if (is_left_out(field, value)) return;
                text(field.name);
                text("=");
                add(value.*field.member);
            });
            text("}");
        } else if constexpr (IsId<Value>) {
            add(value.number());
        } else if constexpr (IsList<Value>) {
            number(value.size());
            text(":");
            for (const auto& item : value) add(item);
        } else if constexpr (kIsArray<Value>) {
            for (const auto& item : value) add(item);
        } else if constexpr (std::is_enum_v<Value>) {
            text(Words<Value>::list.at(static_cast<std::size_t>(value)));
            text(";");
        } else if constexpr (std::is_arithmetic_v<Value>) {
            number(value);
            text(";");
        } else {
            number(value.size());
            text(":");
            text(value);
        }
    }
    std::uint64_t value() const { return state_; }

  private:
    void text(std::string_view bytes) {
        for (const char byte : bytes) state_ = (state_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
    }
    /// In the shortest form that reads back equal.
    template <typename Number>
    void number(Number value) {
        char digits[40];
        if constexpr (std::is_same_v<Number, bool>)
            return number(static_cast<int>(value));
        else
            text({digits, std::to_chars(digits, digits + sizeof digits, value).ptr});
    }

    std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

template <typename Value>
std::uint64_t hash_of_fields(const Value& value) {
    Hash hash;
    hash.add(value);
    return hash.value();
}

}  // namespace

std::uint64_t hash_of(const Plan& plan) { return hash_of_fields(plan); }
std::uint64_t hash_of(const ModuleGraph& graph) { return hash_of_fields(graph); }

}  // namespace smp::partition
