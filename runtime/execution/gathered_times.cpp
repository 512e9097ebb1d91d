#include "runtime/execution/gathered_times.h"

#include <algorithm>
#include <limits>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

namespace smp::runtime {

namespace {

constexpr int kRoundTrips = 16;

ClockOffset offset_of(comms::Communicator& world, int rank, const std::function<std::int64_t()>& clock) {
    ClockOffset best{.error = std::numeric_limits<std::int64_t>::max()};
    const at::Tensor question = at::zeros({1}, at::kLong), answer = at::empty({1}, at::kLong);
    for (int i = 0; i < kRoundTrips; ++i) {
        const std::int64_t asked = clock();
        comms::Work ask = world.send(question, rank), hear = world.receive(answer, rank);
        hear.wait();
        const std::int64_t answered = clock();
        ask.wait();
        const std::int64_t error = (answered - asked + 1) / 2;
        if (error < best.error)
            best = {.ahead = answer.const_data_ptr<std::int64_t>()[0] - (asked + answered) / 2, .error = error};
    }
    return best;
}

void answer_questions(comms::Communicator& world, const std::function<std::int64_t()>& clock) {
    const at::Tensor message = at::empty({1}, at::kLong);
    for (int i = 0; i < kRoundTrips; ++i) {
        world.receive(message, 0).wait();
        message.data_ptr<std::int64_t>()[0] = clock();
        world.send(message, 0).wait();
    }
}

constexpr std::int64_t kFields = 3;  // of partition::ActionTime

at::Tensor to_tensor(const partition::ActionTimes& times) {
    at::Tensor numbers = at::empty({static_cast<std::int64_t>(times.size()), kFields}, at::kLong);
    auto* next = numbers.data_ptr<std::int64_t>();
    for (const partition::ActionTime& time : times)
        for (const std::int64_t value : {time.reached, time.start, time.end}) *next++ = value;
    return numbers;
}

/// As rank 0's clock showed.
partition::ActionTimes from_tensor(const at::Tensor& numbers, std::int64_t ahead) {
    partition::ActionTimes times;
    const auto* next = numbers.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < numbers.size(0); ++i, next += kFields)
        times.push_back({.reached = next[0] - ahead, .start = next[1] - ahead, .end = next[2] - ahead});
    return times;
}

}  // namespace

std::vector<ClockOffset> clock_offsets(comms::Communicator& world, const std::function<std::int64_t()>& clock) {
    if (world.rank() != 0) {
        answer_questions(world, clock);
        return {};
    }
    std::vector<ClockOffset> offsets(1);
    for (int rank = 1; rank < world.size(); ++rank) offsets.push_back(offset_of(world, rank, clock));
    return offsets;
}

partition::StepTimes gather_times(comms::Communicator& world, const partition::Plan& plan, std::int64_t step,
                                  const partition::ActionTimes& own) {
    partition::StepTimes gathered{.step = step};
    const auto offsets = clock_offsets(world);
    if (world.rank() != 0) {
        world.send(to_tensor(own), 0).wait();
        return gathered;
    }
    gathered.ranks.push_back(own);
    for (int rank = 1; rank < world.size(); ++rank) {
        const partition::StageId stage = partition::coordinate_of(plan.topology, rank).stage();
        const auto actions = static_cast<std::int64_t>(plan.training[stage].actions.size());
        const at::Tensor numbers = at::empty({actions, kFields}, at::kLong);
        world.receive(numbers, rank).wait();
        gathered.ranks.push_back(from_tensor(numbers, offsets[rank].ahead));
        gathered.clock_error = std::max(gathered.clock_error, offsets[rank].error);
    }
    return gathered;
}

}  // namespace smp::runtime
