// The tables of fields: one that forgets a member is found while compiling.
#include "partition/job/fields.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "partition/plan/plan.h"

namespace smp::partition {
namespace {

struct Inner {
    int x = 0, y = 0;

    bool operator==(const Inner&) const = default;
};

struct Outer {
    int a = 3;
    int b = 0;
    Inner inner = {};  // initialisable without braces of its own: still one member
    std::vector<Inner> list = {};
    std::array<Axis, 3> order = {};
    std::string name = {};
    bool flag = false;

    bool operator==(const Outer&) const = default;
};

static_assert(member_count<Inner>() == 2);
static_assert(member_count<Outer>() == 7);
static_assert(member_count<Action>() == std::tuple_size_v<decltype(Fields<Action>::list)>);

// What `fields` asks before it makes a table.
static_assert(names_every_member(field("x", &Inner::x), field("y", &Inner::y)));
static_assert(!names_every_member(field("x", &Inner::x)), "a forgotten member");
static_assert(!names_every_member(field("x", &Inner::x), field("y", &Inner::x)), "one member twice");
static_assert(!names_every_member(field("x", &Inner::x), field("x", &Inner::y)), "two of one name");
static_assert(!names_every_member(field("x", &Inner::x), field("y", &Inner::y), field("z", &Inner::y)));

static_assert(IsList<std::vector<Inner>> && !IsList<std::string> && !IsList<Inner> && !IsList<std::array<Axis, 3>>);

TEST(Fields, AreLeftOutAtTheirUsualValueUnlessStated) {
    const auto a = field("a", &Outer::a), b = field("b", &Outer::b);
    EXPECT_TRUE(is_left_out(a, Outer{}));
    EXPECT_FALSE(is_left_out(a, Outer{.a = 0}));
    EXPECT_TRUE(is_left_out(b, Outer{.a = 0}));
    EXPECT_FALSE(is_left_out(stated("b", &Outer::b), Outer{}));
}

}  // namespace
}  // namespace smp::partition
