#include "models/slice.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace smp::models {

namespace {

void require(std::int64_t expected, std::size_t given, const char* what) {
    if (static_cast<std::size_t>(expected) != given)
        throw std::logic_error(fmt::format("a slice's {} tensor has {} elements, not {}", what, expected, given));
}

}  // namespace

std::int64_t Slice::global_index(std::int64_t local) const {
    const std::int64_t width = end - begin;
    const std::int64_t row = begin + local / inner % width;
    if (row >= extent) return -1;
    const std::int64_t block = local / (inner * width);  // outer and part
    return (block * extent + row) * inner + local % inner;
}

Slice whole(std::int64_t numel) { return {.extent = numel, .end = numel}; }

std::vector<SliceRun> runs(const Slice& slice) {
    const std::int64_t valid = std::min(slice.end, slice.extent) - slice.begin;
    if (valid <= 0 || slice.inner == 0) return {};
    if (slice.begin == 0 && slice.end == slice.extent) return {{0, 0, slice.global_numel()}};
    std::vector<SliceRun> result;
    result.reserve(slice.outer * slice.parts);
    for (std::int64_t block = 0; block < slice.outer * slice.parts; ++block)
        result.push_back({.global = (block * slice.extent + slice.begin) * slice.inner,
                          .local = block * (slice.end - slice.begin) * slice.inner,
                          .count = valid * slice.inner});
    return result;
}

void read_slice(const Slice& slice, std::span<float> local,
                const std::function<void(std::int64_t, std::span<float>)>& source) {
    require(slice.local_numel(), local.size(), "local");
    if (slice.end > slice.extent) std::fill(local.begin(), local.end(), 0.0F);
    for (const SliceRun& run : runs(slice)) source(run.global, local.subspan(run.local, run.count));
}

void copy_from_global(const Slice& slice, std::span<const float> global, std::span<float> local) {
    require(slice.global_numel(), global.size(), "global");
    read_slice(slice, local, [&](std::int64_t first, std::span<float> destination) {
        std::copy_n(global.begin() + first, destination.size(), destination.begin());
    });
}

void copy_to_global(const Slice& slice, std::span<const float> local, std::span<float> global) {
    require(slice.local_numel(), local.size(), "local");
    require(slice.global_numel(), global.size(), "global");
    for (const SliceRun& run : runs(slice))
        std::copy_n(local.begin() + run.local, run.count, global.begin() + run.global);
}

}  // namespace smp::models
