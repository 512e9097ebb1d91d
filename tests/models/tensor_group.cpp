#include "tests/models/tensor_group.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2_parameters.h"

namespace smp::models::testing {

void on_tensor_ranks(int tensor_degree, const std::function<void(comms::Communicator&)>& body, int operator_threads) {
    auto world = comms::local_world(tensor_degree, {.limit = {std::chrono::seconds(60)}});
    std::mutex mutex;
    std::exception_ptr first;
    {
        std::vector<std::jthread> ranks;
        for (int rank = 0; rank < tensor_degree; ++rank) {
            ranks.emplace_back([&, rank] {
                at::set_num_threads(operator_threads);
                try {
                    body(*world[rank]);
                } catch (const std::exception& error) {
                    const std::lock_guard lock(mutex);
                    if (!first) first = std::current_exception();
                    world[rank]->abort(error.what(), 1);
                }
            });
        }
    }
    if (first) std::rethrow_exception(first);
}

at::Tensor local_part(const Parameter& parameter, const at::Tensor& global) {
    const Slice& s = parameter.slice;
    at::Tensor local = at::zeros(parameter.local_shape, global.options());
    const std::int64_t valid = std::min(s.end, s.extent) - s.begin;
    if (valid > 0)
        local.view({s.outer, s.parts, s.end - s.begin, s.inner})
            .narrow(2, 0, valid)
            .copy_(global.contiguous().view({s.outer, s.parts, s.extent, s.inner}).narrow(2, s.begin, valid));
    return local;
}

void put_part(const Parameter& parameter, const at::Tensor& local, NamedTensors& globals) {
    at::Tensor& global = globals[parameter.name];
    if (!global.defined()) {
        global = at::zeros(parameter.global_shape, local.options());
    } else if (!parameter.sharded) {
        EXPECT_TRUE(global.equal(local)) << parameter.name << " differs between tensor ranks";
    }
    const Slice& s = parameter.slice;
    const std::int64_t valid = std::max<std::int64_t>(0, std::min(s.end, s.extent) - s.begin);
    const at::Tensor from = local.view({s.outer, s.parts, s.end - s.begin, s.inner});
    if (valid > 0)
        global.view({s.outer, s.parts, s.extent, s.inner}).narrow(2, s.begin, valid).copy_(from.narrow(2, 0, valid));
    const at::Tensor padding = from.narrow(2, valid, s.end - s.begin - valid);
    EXPECT_EQ(padding.count_nonzero().item<std::int64_t>(), 0) << parameter.name << ": padding has a gradient";
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
    EXPECT_EQ(a.sizes(), b.sizes());
    const double scale = b.abs().max().item<double>();
    return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() / (scale > 0 ? scale : 1);
}

BoundModel bind_model(const Gpt2Options& options, const NamedTensors& weights, int first_module, int end_module,
                      SegmentContext context, at::ScalarType dtype) {
    for (const auto precision : {partition::Precision::bf16, partition::Precision::fp16})
        if (value_type(precision) == dtype) context.storage.precision = precision;
    const at::ScalarType gradient_type = dtype == at::kDouble ? at::kDouble : at::kFloat;
    BoundModel model{.segments = gpt2_segments(options, first_module, end_module, context), .views = {}};
    for (const auto& segment : model.segments) {
        std::vector<ParameterView> views;
        for (const Parameter& parameter : segment->parameters()) {
            const at::Tensor& global = weights.at(parameter.tied_to.empty() ? parameter.name : parameter.tied_to);
            const at::Tensor value = local_part(parameter, global.detach().to(dtype));
            views.push_back({.value = value, .gradient = at::zeros_like(value, gradient_type)});
        }
        segment->bind(views);
        model.views.push_back(views);
    }
    return model;
}

void sum_row_gradients(const BoundModel& model, const SegmentContext& context) {
    if (context.storage.optimize == partition::Optimize::speed) return;
    for (std::size_t i = 0; i < model.segments.size(); ++i)
        for (std::size_t j = 0; j < model.views[i].size(); ++j)
            if (model.segments[i]->parameters()[j].follows_rows)
                comms::all_reduce(*context.tensor_group, model.views[i][j].gradient).wait();
}

std::vector<Microbatch> cut(const Batch& batch) {
    const std::int64_t sequences = batch.inputs.size(0) / batch.microbatches;
    std::vector<Microbatch> microbatches;
    for (std::int64_t first = 0; first < batch.inputs.size(0); first += sequences) {
        Microbatch& microbatch = microbatches.emplace_back();
        microbatch.sequences = sequences;
        microbatch.length = batch.inputs.size(1);
        microbatch.first_sequence = first;
        microbatch.seed = batch.seed;
        microbatch.step = batch.step;
        microbatch.gradient_scale = 1.0 / static_cast<double>(batch.inputs.numel());
        microbatch.inputs = batch.inputs.narrow(0, first, sequences);
        microbatch.targets = batch.targets.narrow(0, first, sequences);
    }
    return microbatches;
}

Batch random_batch(const Gpt2Options& options, std::int64_t sequences, std::int64_t length, std::uint64_t seed) {
    at::Generator generator = at::detail::createCPUGenerator(seed);
    const at::Tensor tokens = at::randint(0, options.vocab_size, {2, sequences, length}, generator, at::kLong);
    return {.inputs = tokens[0], .targets = tokens[1]};
}

ModelRun run_model(const Gpt2Options& options, const NamedTensors& weights, const Batch& batch,
                   const RunChoices& choices) {
    ModelRun result;
    std::mutex mutex;
    on_tensor_ranks(
        choices.tensor_degree,
        [&](comms::Communicator& group) {
            SegmentContext context;
            context.tensor_group = &group;
            context.tensor_parallel_seed = choices.tensor_parallel_seed;
            context.storage.optimize = choices.optimize;
            const BoundModel model =
                bind_model(options, weights, 0, gpt2_module_count(options), context, choices.dtype);
            const auto& segments = model.segments;

            double loss_sum = 0, evaluation_loss_sum = 0;
            std::vector<at::Tensor> logits;
            for (const Microbatch& microbatch : cut(batch)) {
                Loss loss, evaluation_loss;
                std::vector<Stash> stashes(segments.size());
                at::Tensor x;
                for (std::size_t i = 0; i < segments.size(); ++i) {
                    if (choices.logits && i + 1 == segments.size())
                        logits.push_back(segments[i]->logits(x, 0, microbatch.sequences * microbatch.length));
                    x = segments[i]->forward(x, stashes[i], microbatch, loss);
                }
                at::Tensor gradient;
                for (std::size_t i = segments.size(); i-- > 0;)
                    gradient = segments[i]->backward_input(gradient, stashes[i], microbatch, loss);
                for (std::size_t i = segments.size(); i-- > 0;) {
                    segments[i]->backward_weight(stashes[i], microbatch);
                    EXPECT_TRUE(stashes[i].empty());
                }
                loss_sum += loss.sum();

                Microbatch evaluated = microbatch;
                evaluated.training = false;
                x.reset();
                for (std::size_t i = 0; i < segments.size(); ++i) {
                    x = segments[i]->forward(x, stashes[i], evaluated, evaluation_loss);
                    EXPECT_TRUE(stashes[i].empty());
                }
                evaluation_loss_sum += evaluation_loss.sum();
            }

            sum_row_gradients(model, context);
            const std::lock_guard lock(mutex);
            const auto tokens = static_cast<double>(batch.inputs.numel());
            if (group.rank() == 0) {
                result.loss = loss_sum / tokens;
                result.evaluation_loss = evaluation_loss_sum / tokens;
                if (choices.logits) result.logits = at::cat(logits);
            }
            for (std::size_t i = 0; i < segments.size(); ++i)
                for (std::size_t j = 0; j < model.views[i].size(); ++j)
                    put_part(segments[i]->parameters()[j], model.views[i][j].gradient, result.gradients);
        },
        choices.operator_threads);
    if (options.tie_word_embeddings) {
        result.gradients.at("wte.weight") += result.gradients.at("lm_head.weight");
        result.gradients.erase("lm_head.weight");
    }
    return result;
}

}  // namespace smp::models::testing
