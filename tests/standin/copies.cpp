// Copies in stream order. As on a device, what is pageable is not beside the host: a copy from it has read it when the
// call returns, a copy into it has ended.
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/standin/errors.h"
#include "tests/standin/memory.h"
#include "tests/standin/streams.h"

namespace smp::standin {

namespace {

/// Rows of `width` bytes.
struct Rows {
    std::size_t pitch, width, height;
    std::size_t bytes() const { return height == 0 ? 0 : (height - 1) * pitch + width; }
};

void copy_rows(std::byte* to, std::size_t to_pitch, const std::byte* from, const Rows& rows) {
    for (std::size_t row = 0; row < rows.height; ++row)
        std::memcpy(to + row * to_pitch, from + row * rows.pitch, rows.width);
}

cudaError_t copy(void* to, std::size_t to_pitch, const void* from, const Rows& rows, cudaStream_t handle) {
    Stream* const stream = stream_of(handle);
    if (stream == nullptr) return refuse("a copy on a stream per thread: those are not there");
    if (rows.width > rows.pitch || rows.width > to_pitch) return cudaErrorInvalidPitchValue;
    if (rows.bytes() == 0) return cudaSuccess;
    auto* const target = static_cast<std::byte*>(to);
    const auto* const source = static_cast<const std::byte*>(from);
    const Memory source_memory = place_of(from).memory, target_memory = place_of(to).memory;
    if (source_memory != target_memory && source_memory == Memory::device)
        stream->queue->purpose.add(Purpose::Work::copies_out);
    if (source_memory != target_memory && target_memory == Memory::device)
        stream->queue->purpose.add(Purpose::Work::copies_in);
    if (source_memory == Memory::pageable) {
        const auto staged = std::make_shared<std::vector<std::byte>>(source, source + rows.bytes());
        stream->queue->push([=] { copy_rows(target, to_pitch, staged->data(), rows); });
    } else {
        stream->queue->push([=] { copy_rows(target, to_pitch, source, rows); });
    }
    if (target_memory != Memory::pageable) return cudaSuccess;
    count(counts(stream->device).copies);
    stream->queue->wait();
    return cudaSuccess;
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaStream_t handle) {
    return copy(to, bytes, from, {.pitch = bytes, .width = bytes, .height = 1}, handle);
}

cudaError_t fill(void* to, int value, std::size_t bytes, cudaStream_t handle) {
    Stream* const stream = stream_of(handle);
    if (stream == nullptr) return refuse("a memset on a stream per thread: those are not there");
    stream->queue->push([=] { std::memset(to, value, bytes); });
    return cudaSuccess;
}

/// The rest of a call that blocks.
cudaError_t finish(cudaError_t code) {
    Stream& stream = *stream_of(nullptr);
    count(counts(stream.device).copies);
    stream.queue->wait();
    return code;
}

}  // namespace

}  // namespace smp::standin

extern "C" {

using namespace smp::standin;

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    return call(__func__, [&] { return copy(to, from, bytes, stream); });
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
    return call(__func__, [&] { return copy(to, from, bytes, stream); });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t stream) {
    return call(__func__, [&] {
        return copy(to, to_pitch, from, {.pitch = from_pitch, .width = width, .height = height}, stream);
    });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    return call(__func__, [&] { return finish(copy(to, from, bytes, nullptr)); });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    return call(__func__, [&] { return fill(to, value, bytes, stream); });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
    return call(__func__, [&] { return finish(fill(to, value, bytes, nullptr)); });
}

}  // extern "C"
