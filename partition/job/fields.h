// One table of fields a type, beside the type. What must see every field of a plan (hash, plan.json, the tests that
// change one field at a time) walks these tables and names no field itself, so that none can be forgotten.
//
// A new field: one line in the table below its struct; without it the build stops there. A new type: a table below it,
//
//     template <>
//     struct Fields<Group> {
//         static constexpr auto list = fields<Group>(field("first", &Group::first), field("end", &Group::end));
//     };
//
// A field can be of a type with a table, an enumeration with Words, a whole number, bool, double, string, an id
// (anything with number() that is made from a number), a std::vector or ids' Table of such, or a std::array of them.
// Equality is the language's: `bool operator==(const Group&) const = default;`.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>

namespace smp::partition {

/// `name` is the field's in plan.json and in the hash. A field that has the value that its type gives it, T{}, is left
/// out there, unless `always`.
template <typename Type, typename Value>
struct Field {
    std::string_view name;
    Value Type::*member;
    bool always;
};

template <typename Type, typename Value>
constexpr Field<Type, Value> field(std::string_view name, Value Type::*member) {
    return {name, member, false};
}
/// Of a field that is written even where it has its default: it says what the rest means, or a reader looks for it.
template <typename Type, typename Value>
constexpr Field<Type, Value> stated(std::string_view name, Value Type::*member) {
    return {name, member, true};
}

/// Stands for a value of any type in the question whether a type can be made from so many.
struct AnyValue {
    template <typename Value>
    operator Value() const;  // NOLINT(google-explicit-constructor)
};

/// How many members an aggregate has: the most values that it can be made from.
template <typename Type, typename... Values>
consteval std::size_t member_count() {
    if constexpr (requires { Type{Values{}..., AnyValue{}}; })
        return member_count<Type, Values..., AnyValue>();
    else
        return sizeof...(Values);
}

/// Whether the fields are all members of the type, each once.
template <typename Type, typename... Values>
constexpr bool names_every_member(const Field<Type, Values>&... fields) {
    if (sizeof...(Values) != member_count<Type>()) return false;
    const std::tuple all(fields...);
    const auto same = [](const auto& a, const auto& b) {
        if (a.name == b.name) return true;
        if constexpr (std::is_same_v<decltype(a.member), decltype(b.member)>) return a.member == b.member;
        return false;
    };
    // Each field is the same as one of them: itself.
    const auto times = [&](const auto& a) {
        return std::apply([&](const auto&... b) { return (std::size_t{same(a, b)} + ...); }, all);
    };
    return std::apply([&](const auto&... a) { return ((times(a) == 1) && ...); }, all);
}

template <typename Type>
struct Fields;

/// The table of a type. Does not compile where a member has no line, or two.
template <typename Type, typename... Values>
consteval std::tuple<Field<Type, Values>...> fields(Field<Type, Values>... list) {
    static_assert(sizeof...(Values) == member_count<Type>(),
                  "a member of this type has no line in its table of fields");
    if (!names_every_member(list...)) throw "two lines of this table name one member, or have one name";
    return {list...};
}

template <typename Type>
concept HasFields = requires {
    Fields<Type>::list;
};

/// An id: its number counts, −1 for none.
template <typename Type>
concept IsId = std::is_class_v<Type> && requires(const Type& id) {
    { id.number() } -> std::same_as<int>;
    Type(0);
};

template <typename Type>
concept IsList = !IsId<Type> && requires(Type & list, typename Type::value_type item) {
    list.push_back(item);
    list.begin();
    list.size();
}
&&!std::is_same_v<typename Type::value_type, char>;

template <typename Type>
inline constexpr bool kIsArray = false;
template <typename Item, std::size_t size>
inline constexpr bool kIsArray<std::array<Item, size>> = true;

/// visit(field) for each field of a type, in the order of its table; `value.*field.member` is that of a value.
template <HasFields Type, typename Visit>
constexpr void for_each_field(Visit&& visit) {
    std::apply([&](const auto&... field) { (visit(field), ...); }, Fields<Type>::list);
}

/// Whether the field has the value that its type gives it, and may be left out.
template <typename Type, typename Value>
bool is_left_out(const Field<Type, Value>& field, const Type& value) {
    static const Type usual{};
    return !field.always && value.*field.member == usual.*field.member;
}

}  // namespace smp::partition
