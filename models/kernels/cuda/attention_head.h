// Where a block of an attention kernel finds its head of one sequence, and which of its weights dropout keeps.
#pragma once

#include <cmath>
#include <cstdint>

#include <cuda_runtime.h>

#include "models/kernels/cuda/device_kernels.h"
#include "models/kernels/cuda/stored.h"

namespace smp::models::kernels::cuda {

/// Rows of one part of qkv, or of the output, of one head of one sequence; as fp32 where they are read.
template <class T>
struct Rows {
    const T* data;
    std::int64_t stride, length, width;

    __device__ float at(std::int64_t row, std::int64_t column) const { return to_float(data[row * stride + column]); }
};

/// What a block works at.
struct Head {
    std::int64_t sequence, head;

    __device__ static Head own() { return {blockIdx.z, blockIdx.y}; }
    template <class T>
    __device__ Rows<T> part(const T* qkv, const HeadShape& s, int part) const {
        const std::int64_t stride = 3 * s.heads * s.head_width;
        return {qkv + sequence * s.length * stride + (part * s.heads + head) * s.head_width, stride, s.length,
                s.head_width};
    }
    template <class T>
    __device__ Rows<T> output(const T* out, const HeadShape& s) const {
        const std::int64_t stride = s.heads * s.head_width;
        return {out + sequence * s.length * stride + head * s.head_width, stride, s.length, s.head_width};
    }
    /// Of a tensor [b, H, T].
    __device__ std::int64_t row(const HeadShape& s, std::int64_t position) const {
        return (sequence * s.heads + head) * s.length + position;
    }
    /// What the weight of a key for a query is multiplied by.
    __device__ float kept(const WeightDropout& dropout, const HeadShape& s, std::int64_t query,
                          std::int64_t key) const {
        if (!dropout.is_on) return 1;
        const std::uint32_t bits = dropout_bits(
            dropout.mask.key, dropout.first_sequence + static_cast<std::uint64_t>(sequence),
            static_cast<std::uint32_t>((s.first_head + head) * s.length + query), static_cast<std::uint32_t>(key));
        return bits >= dropout.mask.threshold ? dropout.mask.scale : 0.0F;
    }
};

/// 1/√d, by which scores are multiplied.
inline float scale_of(const HeadShape& s) {
    return static_cast<float>(1 / std::sqrt(static_cast<double>(s.head_width)));
}

}  // namespace smp::models::kernels::cuda
