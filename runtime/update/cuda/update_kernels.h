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

/// *mark = 1 where one of `values` is not finite, else as it was.
void mark_non_finite(std::int32_t* mark, models::kernels::ConstElements values, std::int64_t count, void* stream);

/// What the sums of a step say, on the device, for what follows there.
struct StepDecision {
    double factor = 1;         // of gradients: clipping and the loss scale
    std::int32_t updates = 0;  // 1, or 0 where the loss or the norm is not finite
};
/// words [2, ExactSum::kWords], losses and squares of gradients: adds `losses` to the first, as ExactSum::add() does,
/// and hands carries on in both, so that those of many ranks may be added.
void close_sums(std::int64_t* words, const double* losses, std::int64_t count, void* stream);
struct StepRule {
    double tokens = 1, scale = 1, max_norm = 0;
};
/// From the words of the whole world: as Update does on the CPU, to the bit.
void decide(StepDecision* decision, const std::int64_t* words, const StepRule& rule, void* stream);

/// One update of AdamW, of elements that decay alike: nothing where `decision` says so.
struct AdamWStep {
    std::int64_t update = 1;  // from 1
    double learning_rate = 0, beta1 = 0, beta2 = 0, epsilon = 0, weight_decay = 0;
};
struct AdamWBuffers {
    float* value = nullptr;                  // the master, where values are rounded
    models::kernels::Elements rounded = {};  // null: none
    const float* gradient = nullptr;
    float *first_moment = nullptr, *second_moment = nullptr;
};
void adamw(const AdamWBuffers& buffers, std::int64_t count, const AdamWStep& step, const StepDecision* decision,
           void* stream);

}  // namespace smp::runtime::cuda
