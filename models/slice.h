// Which elements of a global tensor one tensor rank holds, and how they move between the two.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace smp::models {

/// The global tensor, row-major, is seen as [outer, parts, extent, inner]; the rank holds [begin, end) of `extent`, of
/// every part: c_attn.weight [h, 3h] is outer = h, parts = 3 (q, k, v), extent = h, inner = 1. Where `extent` does not
/// divide by the tensor degree it is padded: elements at or above `extent` exist locally only and stay zero.
struct Slice {
    std::int64_t outer = 1, parts = 1, extent = 1, inner = 1;
    std::int64_t begin = 0, end = 1;

    std::int64_t local_numel() const { return outer * parts * (end - begin) * inner; }
    std::int64_t global_numel() const { return outer * parts * extent * inner; }
    /// Global element of a local one, −1 where it is padding.
    std::int64_t global_index(std::int64_t local) const;

    bool operator==(const Slice&) const = default;
};

/// All of a tensor of `numel` elements.
Slice whole(std::int64_t numel);

/// Elements that lie side by side in the global and in the local tensor.
struct SliceRun {
    std::int64_t global = 0;  // first element in the global tensor
    std::int64_t local = 0;   // first element in the local one
    std::int64_t count = 0;

    bool operator==(const SliceRun&) const = default;
};

/// The slice as runs, each as long as can be, in ascending order of both offsets. Padding is in none.
std::vector<SliceRun> runs(const Slice& slice);

/// Fills `local` [local_numel] from a source that reads `count` global elements at a time into a span; padding becomes
/// 0. For files: the source is asked for the slice's own elements only.
void read_slice(const Slice& slice, std::span<float> local,
                const std::function<void(std::int64_t first_global, std::span<float> destination)>& source);
/// The same from memory: `global` [global_numel].
void copy_from_global(const Slice& slice, std::span<const float> global, std::span<float> local);
/// Writes the slice's elements into `global` [global_numel] and leaves all others as they are. Padding is dropped.
void copy_to_global(const Slice& slice, std::span<const float> local, std::span<float> global);

}  // namespace smp::models
