// A job that trains in a moment where a CUDA thread is a fiber of the host (cuda_on_host.h).
#pragma once

#include "tests/runtime/small_training_job.h"

namespace smp::testing {

/// small_training_job() with two layers and heads, ten positions and 97 tokens; nothing divides by a tile.
inline runtime::Job fiber_job(const ScratchFolder& folder) {
    runtime::Job job = small_training_job(folder);
    change_model(job, [](auto& model) {
        model.n_layer = 2;
        model.n_head = 2;
        model.n_embd = 12;
        model.n_positions = 10;
        model.vocab_size = 97;
    });
    job.training.sequence_length = 10;
    return job;
}

/// fiber_job() with more layers, for as many stages, dropout everywhere, eight sequences a step and gradients that are
/// clipped.
inline runtime::Job deeper_fiber_job(const ScratchFolder& folder, int layers = 4) {
    runtime::Job job = fiber_job(folder);
    change_model(job, [layers](auto& model) {
        model.n_layer = layers;
        model.embd_pdrop = model.attn_pdrop = model.resid_pdrop = 0.1;
    });
    job.training.global_batch_size = 8;
    job.training.gradient_clip_norm = 0.3;
    return job;
}

}  // namespace smp::testing
