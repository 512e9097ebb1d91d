// A timeline as a picture: a row a stage or rank, time to the right. SVG that stands alone or inside a page, for light
// and dark screens; kinds of work are told apart by colour and by pattern.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "partition/job/words.h"
#include "partition/plan/action.h"

namespace smp::partition {

enum class Look { forward, backward, weight, recompute, message, offload, reduction, optimizer };
template <>
struct Words<Look> {
    static constexpr std::array<std::string_view, 8> list = {"forward", "backward", "weight gradients", "recomputation",
                                                             "message", "offload",  "reduction",        "optimizer"};
};

/// Lines of a row, from above.
enum class Lane { compute, communication, copies };

/// Nanoseconds from the left edge, start ≤ end.
struct PictureSpan {
    int row = 0;
    Lane lane = Lane::compute;
    Look look = Look::forward;
    std::int64_t start = 0, end = 0;
    std::string label = {};  // of a computation: the microbatch
};

struct TimelinePicture {
    std::string title;
    std::vector<std::string> lines;  // below the title
    std::vector<std::string> rows;   // names
    std::vector<PictureSpan> spans;  // in any order
    std::int64_t length = 0;         // nanoseconds, to the right edge
};

struct PictureSize {
    std::size_t spans = 6000;        // beyond so many none is drawn for itself
    std::string_view ids = "smp-t";  // begins the ids in the SVG: different ones for pictures of one page
};

/// Each span for itself, with a label where that fits over those of one microbatch in a row; or, where there are too
/// many, rows as stacked shares of time: so much of this interval the row spent on that. The picture says which, and
/// stays below 1 MB for 64 rows of any number of spans. Equal pictures give equal text. Throws std::logic_error for a
/// span whose row is not there or that ends before it starts.
std::string to_svg(const TimelinePicture& picture, const PictureSize& size = {});

/// How an action is drawn; a label where it computes for a microbatch: "12", with `chunk_of_stage` (from 0; −1: the
/// stage has no others) "12b". Times and row are the caller's.
PictureSpan picture_span(const Action& action, int chunk_of_stage = -1);

/// "0", "12.5 us", "3 ms": nanoseconds for people.
std::string shown_nanoseconds(std::int64_t nanoseconds);

}  // namespace smp::partition
