// How the elements of a tensor lie in memory. Kernels compute in fp32 whatever it is: rows of 16-bit elements are
// widened into a buffer before the arithmetic, which is that of fp32 to the bit, and results are rounded once as they
// are stored. No LibTorch header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace smp::models::kernels {

enum class Storage { fp32, bf16, fp16 };

constexpr std::int64_t element_bytes(Storage storage) { return storage == Storage::fp32 ? 4 : 2; }

/// Elements that are read.
struct ConstElements {
    const void* data = nullptr;
    Storage storage = Storage::fp32;

    /// From element `offset` on.
    ConstElements from(std::int64_t offset) const {
        return {static_cast<const std::byte*>(data) + offset * element_bytes(storage), storage};
    }
    /// Where fp32 elements lie.
    const float* fp32() const { return static_cast<const float*>(data); }
};

/// Elements that are written.
struct Elements {
    void* data = nullptr;
    Storage storage = Storage::fp32;

    Elements from(std::int64_t offset) const {
        return {static_cast<std::byte*>(data) + offset * element_bytes(storage), storage};
    }
    float* fp32() const { return static_cast<float*>(data); }
    operator ConstElements() const { return {data, storage}; }  // NOLINT(google-explicit-constructor)
};

/// `rows` rows of `columns` elements; a row begins `stride` elements after the one before.
struct Patch {
    std::int64_t rows = 1, columns = 0;
};

/// to = from, exactly.
void load(float* to, std::int64_t to_stride, ConstElements from, std::int64_t from_stride, Patch patch);
/// to = from, rounded to nearest even; what is beyond the largest number becomes infinite, NaN stays NaN.
void store(Elements to, std::int64_t to_stride, const float* from, std::int64_t from_stride, Patch patch);

/// Runs of at most `longest` elements as fp32: fp32 where they lie, others in a buffer.
class RunReader {
  public:
    RunReader(ConstElements elements, std::int64_t longest)
        : elements_(elements), buffer_(elements.storage == Storage::fp32 ? 0 : static_cast<std::size_t>(longest)) {}

    /// `count` elements from `offset` on; there until the next call.
    const float* operator()(std::int64_t offset, std::int64_t count) {
        const ConstElements run = elements_.from(offset);
        if (run.storage == Storage::fp32) return run.fp32();
        load(buffer_.data(), count, run, count, {.columns = count});
        return buffer_.data();
    }

  private:
    ConstElements elements_;
    std::vector<float> buffer_;
};

/// Runs of at most `longest` elements to be written as fp32: fp32 where they go, others in a buffer until end().
class RunWriter {
  public:
    RunWriter(Elements elements, std::int64_t longest)
        : elements_(elements), buffer_(elements.storage == Storage::fp32 ? 0 : static_cast<std::size_t>(longest)) {}

    float* begin(std::int64_t offset) {
        run_ = elements_.from(offset);
        return run_.storage == Storage::fp32 ? run_.fp32() : buffer_.data();
    }
    /// Stores the `count` elements written since begin().
    void end(std::int64_t count) {
        if (run_.storage != Storage::fp32) store(run_, count, buffer_.data(), count, {.columns = count});
    }

  private:
    Elements elements_, run_;
    std::vector<float> buffer_;
};

}  // namespace smp::models::kernels
