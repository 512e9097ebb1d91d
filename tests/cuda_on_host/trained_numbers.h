// Whole trainings whose numbers are compared, each rank with a device where the job says cuda.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"

namespace smp::testing {

struct Numbers {
    std::vector<double> losses, grad_norms;
    std::map<std::string, at::Tensor> values;  // at the end
};

/// Ranks as threads. They may wait for long: under the thread sanitizer a step takes minutes.
inline void on_devices(int ranks, const std::function<void(comms::Communicator&)>& body) {
    on_ranks(comms::local_world(ranks, {.limit = {std::chrono::minutes(30), "the limit"}}), body);
}

/// `look` is called on each rank after each step.
inline Numbers train(runtime::Job job, partition::Device device, std::int64_t steps,
                     const std::function<void(const runtime::Trainer&, const runtime::StepRecord&)>& look = {}) {
    job.cluster.device = device;
    const auto& parallel = job.parallel;
    const int replica = parallel.pipeline_parallel_degree * parallel.tensor_parallel_degree;
    const int ranks = job.cluster.devices_per_node.value_or(replica);
    Numbers numbers;
    on_devices(ranks, [&](comms::Communicator& world) {
        runtime::Trainer trainer(job, world);
        while (trainer.steps_done() < steps) {
            const runtime::StepRecord record = trainer.step();
            if (look) look(trainer, record);
            if (world.rank() != 0) continue;
            numbers.losses.push_back(record.loss);
            numbers.grad_norms.push_back(record.grad_norm);
        }
        for (const std::string& name : trainer.parameter_names())
            if (const at::Tensor value = trainer.gather_value(name); value.defined()) numbers.values[name] = value;
    });
    return numbers;
}

inline void expect_same_bits(const Numbers& numbers, const Numbers& expected) {
    EXPECT_EQ(numbers.losses, expected.losses);
    EXPECT_EQ(numbers.grad_norms, expected.grad_norms);
    ASSERT_EQ(numbers.values.size(), expected.values.size());
    for (const auto& [name, value] : expected.values) EXPECT_TRUE(numbers.values.at(name).equal(value)) << name;
}

/// `job` on so many stages, tensor ranks and ranks.
inline runtime::Job laid_out(runtime::Job job, int pp, int tp, int ranks) {
    job.parallel.pipeline_parallel_degree = pp;
    job.parallel.tensor_parallel_degree = tp;
    job.cluster.devices_per_node = ranks;
    return job;
}

}  // namespace smp::testing
