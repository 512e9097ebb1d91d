// Numbers that cannot be mixed up: which stage, chunk, microbatch, … an index means is part of its type, and of the
// table that it indexes.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <utility>
#include <vector>

#include <fmt/core.h>

namespace smp::partition {

/// Stands for no id of any kind.
struct None {
    bool operator==(const None&) const = default;
};
inline constexpr None kNone;

/// The number of one thing of its kind, from 0; or none, which is what it starts as, comes before all others and is
/// written −1.
template <typename Kind>
class Id {
  public:
    constexpr Id() = default;
    constexpr Id(None) {}  // NOLINT(google-explicit-constructor): it fits every kind
    template <std::integral Number>
    constexpr explicit Id(Number number) : number_(static_cast<int>(number)) {}

    constexpr int number() const { return number_; }
    constexpr std::size_t index() const { return static_cast<std::size_t>(number_); }

    constexpr auto operator<=>(const Id&) const = default;
    constexpr bool operator==(const Id&) const = default;
    friend constexpr bool operator==(Id id, None) { return id.number_ < 0; }

    constexpr Id operator+(int count) const { return Id(number_ + count); }
    constexpr Id operator-(int count) const { return Id(number_ - count); }
    constexpr int operator-(Id other) const { return number_ - other.number_; }
    constexpr Id& operator++() {
        ++number_;
        return *this;
    }

    template <typename Out>
    requires requires(Out& out, int number) { out << number; }
    friend Out& operator<<(Out& out, const Id& id) {
        out << id.number_;
        return out;
    }

    // What JSON libraries look for to write one.
    template <typename Json>
    friend void to_json(Json& json, const Id& id) {
        json = id.number_;
    }

  private:
    int number_ = -1;
};

using StageId = Id<struct StageKind>;
using ChunkId = Id<struct ChunkKind>;            // among all chunks of the model
using GroupId = Id<struct GroupKind>;            // of modules that are recomputed together, in their chunk
using BucketId = Id<struct BucketKind>;          // of elements that are reduced together, in their chunk's section
using MicrobatchId = Id<struct MicrobatchKind>;  // of a step
using BufferId = Id<struct BufferIdKind>;        // of one stage's program, as are events and actions
using EventId = Id<struct EventKind>;
using ActionId = Id<struct ActionIdKind>;  // position in the list

/// Ids in ascending order, for loops.
template <typename Key>
class IdRange {
  public:
    class Iterator {
      public:
        using value_type = Key;
        using difference_type = std::ptrdiff_t;
        Iterator() = default;
        explicit Iterator(Key id) : id_(id) {}
        Key operator*() const { return id_; }
        Iterator& operator++() {
            ++id_;
            return *this;
        }
        Iterator operator++(int) { return std::exchange(*this, Iterator(id_ + 1)); }
        bool operator==(const Iterator&) const = default;

      private:
        Key id_;
    };

    IdRange(Key first, Key end) : first_(first), end_(end) {}
    Iterator begin() const { return Iterator(first_); }
    Iterator end() const { return Iterator(end_); }

  private:
    Key first_, end_;
};

/// The first `count` ids of a kind.
template <typename Key>
IdRange<Key> first_ids(int count) {
    return {Key(0), Key(count)};
}

/// A vector that only ids of its kind index.
template <typename Key, typename T>
class Table : private std::vector<T> {
    using Base = std::vector<T>;

  public:
    using typename Base::const_iterator;
    using typename Base::const_reference;
    using typename Base::iterator;
    using typename Base::reference;
    using typename Base::size_type;
    using typename Base::value_type;

    Table() = default;
    explicit Table(std::size_t count) : Base(count) {}
    Table(std::size_t count, const T& value) : Base(count, value) {}
    Table(std::initializer_list<T> items) : Base(items) {}
    template <std::input_iterator Iterator>
    Table(Iterator first, Iterator last) : Base(first, last) {}
    bool operator==(const Table&) const = default;

    reference operator[](Key id) { return Base::operator[](id.index()); }
    const_reference operator[](Key id) const { return Base::operator[](id.index()); }
    reference at(Key id) { return Base::at(id.index()); }
    const_reference at(Key id) const { return Base::at(id.index()); }
    bool has(Key id) const { return id.number() >= 0 && id.index() < Base::size(); }

    IdRange<Key> ids() const { return {Key(0), end_id()}; }
    Key last_id() const { return end_id() - 1; }
    Key end_id() const { return Key(Base::size()); }
    /// The new entry's id.
    Key add(T item) {
        Base::push_back(std::move(item));
        return last_id();
    }

    using Base::assign;
    using Base::back;
    using Base::begin;
    using Base::clear;
    using Base::emplace_back;
    using Base::empty;
    using Base::end;
    using Base::erase;
    using Base::front;
    using Base::insert;
    using Base::pop_back;
    using Base::push_back;
    using Base::rbegin;
    using Base::rend;
    using Base::reserve;
    using Base::resize;
    using Base::size;
};

}  // namespace smp::partition

template <typename Kind>
struct std::hash<smp::partition::Id<Kind>> {
    std::size_t operator()(const smp::partition::Id<Kind>& id) const { return std::hash<int>()(id.number()); }
};

template <typename Kind>
struct fmt::formatter<smp::partition::Id<Kind>> : fmt::formatter<int> {
    template <typename Context>
    auto format(const smp::partition::Id<Kind>& id, Context& context) const {
        return fmt::formatter<int>::format(id.number(), context);
    }
};
