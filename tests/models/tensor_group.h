// Runs GPT-2's segments on a tensor group whose ranks are threads, and puts what they made together again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "models/gpt2/gpt2.h"
#include "models/gpt2/options.h"
#include "tests/models/safetensors_reader.h"

namespace smp::models::testing {

/// Calls `body` on as many threads as the degree, each with `operator_threads`, and rethrows the first exception.
void on_tensor_ranks(int tensor_degree, const std::function<void(comms::Communicator& group)>& body,
                     int operator_threads = 1);

/// This rank's part of a global tensor, by narrowing a view of it (not by the code under test), zeros in padding.
at::Tensor local_part(const Parameter& parameter, const at::Tensor& global);
/// Copies a rank's part of a gradient to where it belongs in the global one, which is made if there is none. Expects
/// that padding has no gradient and that ranks that hold the same elements have the same bits. One rank at a time.
void put_part(const Parameter& parameter, const at::Tensor& local, NamedTensors& globals);

/// Segments with storage of their own: parameters cut out of `weights`, gradients zero.
struct BoundModel {
    std::vector<std::unique_ptr<Segment>> segments;
    std::vector<std::vector<ParameterView>> views;  // by segment
};
BoundModel bind_model(const Gpt2Options& options, const NamedTensors& weights, int first_module, int end_module,
                      SegmentContext context, at::ScalarType dtype = at::kFloat);

/// A batch [B, T] as microbatches of equal size; the gradients are those of the mean over the batch.
struct Batch {
    at::Tensor inputs, targets;  // int64 [B, T]
    std::int64_t microbatches = 1;
    std::uint64_t seed = 1, step = 0;
};
std::vector<Microbatch> cut(const Batch& batch);
/// Tokens and targets drawn evenly.
Batch random_batch(const Gpt2Options& options, std::int64_t sequences, std::int64_t length, std::uint64_t seed);

struct ModelRun {
    double loss = 0;             // mean, the same on every rank
    at::Tensor logits;           // [B·T, V], if asked for
    NamedTensors gradients;      // global; the tied weight's two parts added
    double evaluation_loss = 0;  // mean, without dropout
};
struct RunChoices {
    int tensor_degree = 1;
    at::ScalarType dtype = at::kFloat;
    bool logits = false;
    std::uint64_t tensor_parallel_seed = 0;
    int operator_threads = 1;
    partition::Optimize optimize = partition::Optimize::speed;
};
/// As the trainer does once a step: where rows are sharded, sums the gradients that cover a rank's own rows over the
/// group.
void sum_row_gradients(const BoundModel& model, const SegmentContext& context);
/// Forward and both backwards of the whole model. Checks what put_part does, and that stashes end empty.
ModelRun run_model(const Gpt2Options& options, const NamedTensors& weights, const Batch& batch,
                   const RunChoices& choices = {});

/// max |a − b| / max |b|.
double relative_error(const at::Tensor& a, const at::Tensor& b);

}  // namespace smp::models::testing
