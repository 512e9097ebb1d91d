#include "models/slice.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace smp::models {
namespace {

Slice arbitrary_slice() {
    Slice slice;
    slice.outer = *rc::gen::inRange(1, 5);
    slice.parts = *rc::gen::inRange(1, 4);
    slice.extent = *rc::gen::inRange(1, 12);
    slice.inner = *rc::gen::inRange(1, 5);
    const auto degree = *rc::gen::inRange<std::int64_t>(1, 6), rank = *rc::gen::inRange<std::int64_t>(0, degree);
    const std::int64_t width = (slice.extent + degree - 1) / degree;
    slice.begin = rank * width;
    slice.end = slice.begin + width;
    return slice;
}

TEST(Slice, CutsEachOfTheParts) {
    // c_attn.weight [2, 3·4], second of two tensor ranks: columns 2, 3 of q, of k and of v.
    const Slice slice{.outer = 2, .parts = 3, .extent = 4, .inner = 1, .begin = 2, .end = 4};
    std::vector<std::int64_t> elements;
    for (std::int64_t i = 0; i < slice.local_numel(); ++i) elements.push_back(slice.global_index(i));
    EXPECT_EQ(elements, (std::vector<std::int64_t>{2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23}));
}

TEST(Slice, RowsBeyondTheExtentArePadding) {
    // A vocabulary of 5 over 4 ranks: 2 rows each, so the third has one row and the last none.
    const Slice third{.extent = 5, .inner = 2, .begin = 4, .end = 6},
        last{.extent = 5, .inner = 2, .begin = 6, .end = 8};
    EXPECT_EQ(third.global_index(1), 9);
    EXPECT_EQ(third.global_index(2), -1);
    EXPECT_EQ(last.global_index(0), -1);
    EXPECT_EQ(runs(third), (std::vector<SliceRun>{{.global = 8, .local = 0, .count = 2}}));
    EXPECT_TRUE(runs(last).empty());
}

TEST(Slice, WholeTensorIsOneRun) { EXPECT_EQ(runs(whole(77)), (std::vector<SliceRun>{{0, 0, 77}})); }

RC_GTEST_PROP(Slice, RunsAreTheElementsInOrder, ()) {
    const Slice slice = arbitrary_slice();
    std::vector<std::int64_t> expected(slice.local_numel()), found(slice.local_numel(), -1);
    for (std::int64_t i = 0; i < slice.local_numel(); ++i) expected[i] = slice.global_index(i);
    std::int64_t end = 0;
    for (const SliceRun& run : runs(slice)) {
        RC_ASSERT(run.count > 0);
        RC_ASSERT(run.local >= end);
        end = run.local + run.count;
        for (std::int64_t i = 0; i < run.count; ++i) found[run.local + i] = run.global + i;
    }
    RC_ASSERT(found == expected);
}

RC_GTEST_PROP(Slice, CopiesThereAndBack, ()) {
    const Slice slice = arbitrary_slice();
    std::vector<float> global(slice.global_numel()), local(slice.local_numel(), NAN), back(global.size(), -1);
    std::iota(global.begin(), global.end(), 1.0F);
    copy_from_global(slice, global, local);
    for (std::int64_t i = 0; i < slice.local_numel(); ++i) {
        const std::int64_t element = slice.global_index(i);
        RC_ASSERT(local[i] == (element < 0 ? 0.0F : global[element]));
    }
    copy_to_global(slice, local, back);
    std::int64_t own = 0;
    for (std::size_t i = 0; i < back.size(); ++i) {
        RC_ASSERT(back[i] == -1 || back[i] == global[i]);
        own += back[i] != -1;
    }
    std::int64_t valid = 0;
    for (std::int64_t i = 0; i < slice.local_numel(); ++i) valid += slice.global_index(i) >= 0;
    RC_ASSERT(own == valid);
}

TEST(Slice, ReadsItsOwnElementsOnly) {
    const Slice slice{.outer = 3, .parts = 1, .extent = 8, .inner = 1, .begin = 6, .end = 9};
    std::vector<float> local(slice.local_numel(), NAN);
    std::vector<std::int64_t> asked;
    read_slice(slice, local, [&](std::int64_t first, std::span<float> destination) {
        for (std::size_t i = 0; i < destination.size(); ++i) {
            asked.push_back(first + static_cast<std::int64_t>(i));
            destination[i] = 1;
        }
    });
    EXPECT_EQ(asked, (std::vector<std::int64_t>{6, 7, 14, 15, 22, 23}));
    EXPECT_EQ(local, (std::vector<float>{1, 1, 0, 1, 1, 0, 1, 1, 0}));
}

TEST(Slice, RefusesBuffersOfAnotherSize) {
    std::vector<float> four(4), five(5);
    EXPECT_THROW(copy_from_global(whole(5), four, five), std::logic_error);
    EXPECT_THROW(copy_to_global(whole(5), four, five), std::logic_error);
}

}  // namespace
}  // namespace smp::models
