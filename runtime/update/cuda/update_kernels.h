// What an update does to gradients and weights on CUDA, on raw pointers to device memory. `stream` is a cudaStream_t of
// the current device; all is asynchronous. std::runtime_error where a kernel cannot be started, std::logic_error in a
// build without CUDA. No LibTorch header.
#pragma once

#include <cstdint>

#include "models/kernels/storage.h"

namespace smp::runtime::cuda {

/// words [ExactSum::kWords] += the squares of `values`: sum_of_squares of gradient_norm.h, to the bit. `values` begins
/// at a block edge. Up to 2^31 blocks may be added before the words are read (ExactSum::from_words).
void add_squares(std::int64_t* words, const float* values, std::int64_t count, void* stream);

/// One update of AdamW, of elements that decay alike.
struct AdamWStep {
    std::int64_t update = 1;  // from 1
    double learning_rate = 0, beta1 = 0, beta2 = 0, epsilon = 0, weight_decay = 0;
    double factor = 1;  // gradients are multiplied by it first: clipping and the loss scale
};
struct AdamWBuffers {
    float* value = nullptr;                  // the master, where values are rounded
    models::kernels::Elements rounded = {};  // null: none
    const float* gradient = nullptr;
    float *first_moment = nullptr, *second_moment = nullptr;
};
void adamw(const AdamWBuffers& buffers, std::int64_t count, const AdamWStep& step, void* stream);

}  // namespace smp::runtime::cuda
