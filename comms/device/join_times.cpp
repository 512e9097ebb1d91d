#include "comms/device/join_times.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "comms/device/cuda_stream.h"

namespace smp::comms {

struct JoinTimes::Events {
    struct Join {
        int kind;
        CudaEvent before;
        std::optional<CudaEvent> after = {};
    };

    Options options;
    std::shared_ptr<EventPool> pool;
    // Of the last run; its events go back to the pool when the next one begins.
    std::optional<CudaEvent> begin = {}, end = {};
    std::vector<Join> joins = {};
    int kind = 0;

    CudaEvent here() const { return pool->record(pool->current_stream()); }
};

namespace {

/// That the calling thread's run has.
thread_local JoinTimes::Events* timed = nullptr;

std::int64_t nanoseconds_between(const CudaEvent& from, const CudaEvent& to) {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, from.get(), to.get()), "cudaEventElapsedTime");
    return std::llround(1e6 * static_cast<double>(milliseconds));
}

}  // namespace

JoinTimes::JoinTimes(const RankDevice& device, const Options& options)
    : events_(std::make_unique<Events>(Events{
          .options = options,
          .pool = std::make_shared<EventPool>(
              device.device().index(),
              EventPool::Options{.are_timed = true, .at_start = 2 + 2 * std::min(options.expected, options.most)})})) {}

JoinTimes::~JoinTimes() = default;

JoinTimes::Run::Run(JoinTimes& times) : times_(times) {
    Events& events = *times.events_;
    events.joins.clear();
    events.begin.reset();
    events.end.reset();
    events.begin.emplace(events.here());
    events.kind = 0;
    timed = &events;
}

JoinTimes::Run::~Run() { timed = nullptr; }

void JoinTimes::Run::set_kind(int kind) { times_.events_->kind = kind; }

void JoinTimes::Run::end() {
    Events& events = *times_.events_;
    if (timed == &events) events.end.emplace(events.here());
    timed = nullptr;
}

void JoinTimes::before_join() {
    if (timed == nullptr) return;
    if (timed->joins.size() == timed->options.most) {
        timed = nullptr;
        return;
    }
    timed->joins.push_back({.kind = timed->kind, .before = timed->here()});
}

void JoinTimes::after_join() {
    if (timed != nullptr) timed->joins.back().after.emplace(timed->here());
}

std::optional<JoinTimes::Durations> JoinTimes::durations() const {
    const Events& events = *events_;
    if (!events.begin || !events.end) return std::nullopt;
    Durations durations{.all = nanoseconds_between(*events.begin, *events.end),
                        .joins = std::vector<std::int64_t>(events.options.kinds)};
    for (const Events::Join& join : events.joins)
        durations.joins.at(static_cast<std::size_t>(join.kind)) += nanoseconds_between(join.before, join.after.value());
    return durations;
}

}  // namespace smp::comms
