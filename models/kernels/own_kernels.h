// Which tensors the own kernels take, where their elements lie, and how their rows are shared out over threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "models/kernels/storage.h"

namespace smp::models::kernels {

/// fp32, bf16 and fp16 on the CPU. Everything else goes to the ATen twins.
inline bool takes(const at::Tensor& x) {
    const at::ScalarType type = x.scalar_type();
    return x.is_cpu() && (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf);
}

/// How x, which takes() accepts, is stored.
inline Storage storage_of(const at::Tensor& x) {
    switch (x.scalar_type()) {
        case at::kFloat: return Storage::fp32;
        case at::kBFloat16: return Storage::bf16;
        case at::kHalf: return Storage::fp16;
        default: throw std::logic_error("kernels: a tensor of another type than its operator takes");
    }
}

inline ConstElements elements(const at::Tensor& x) { return {x.const_data_ptr(), storage_of(x)}; }
inline Elements mutable_elements(const at::Tensor& x) { return {x.mutable_data_ptr(), storage_of(x)}; }

/// All of a vector as fp32.
class Vector {
  public:
    explicit Vector(const at::Tensor& x) : reader_(elements(x), x.numel()), data_(reader_(0, x.numel())) {}
    Vector(const Vector&) = delete;
    Vector& operator=(const Vector&) = delete;
    const float* data() const { return data_; }

  private:
    RunReader reader_;
    const float* data_;
};

inline constexpr std::int64_t kRunElements = 2048;

/// f(first, last) over runs of rows of `width` elements, in parallel; each row must be computed by itself, so that its
/// bits do not depend on the runs.
template <class F>
void for_rows(std::int64_t rows, std::int64_t width, const F& f) {
    constexpr std::int64_t kWorthAThread = 1 << 14;  // elements
    at::parallel_for(0, rows, std::max<std::int64_t>(1, kWorthAThread / std::max<std::int64_t>(width, 1)), f);
}

/// f(first, count) over runs of [first, last) that are short enough for a buffer in the first-level cache.
template <class F>
void for_runs(std::int64_t first, std::int64_t last, const F& f) {
    for (; first < last; first += kRunElements) f(first, std::min(kRunElements, last - first));
}

/// Rows of 128 columns at most, 64 at a time, as fp32: fp32 where they lie, others in a buffer.
class BlockReader {
  public:
    static constexpr std::int64_t kRows = 64, kColumns = 128;
    BlockReader(ConstElements elements, std::int64_t stride)
        : elements_(elements),
          stride_(stride),
          buffer_(elements.storage == Storage::fp32 ? 0 : static_cast<std::size_t>(kRows * kColumns)) {}

    /// Between the rows that are read.
    std::int64_t stride() const { return buffer_.empty() ? stride_ : kColumns; }
    /// There until the next call.
    const float* operator()(std::int64_t row, std::int64_t column, Patch patch) {
        const ConstElements block = elements_.from(row * stride_ + column);
        if (buffer_.empty()) return block.fp32();
        load(buffer_.data(), kColumns, block, stride_, patch);
        return buffer_.data();
    }

  private:
    ConstElements elements_;
    std::int64_t stride_;
    std::vector<float> buffer_;
};

/// f(first, last) over blocks of columns, in parallel, for sums down the columns: each column by itself.
template <class F>
void for_columns(std::int64_t columns, const F& f) {
    constexpr std::int64_t kBlock = BlockReader::kColumns;
    at::parallel_for(0, (columns + kBlock - 1) / kBlock, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t block = begin; block < end; ++block)
            f(block * kBlock, std::min(columns, (block + 1) * kBlock));
    });
}

}  // namespace smp::models::kernels
