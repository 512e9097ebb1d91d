#include "tests/standin/streams.h"

#include <algorithm>
#include <array>
#include <pthread.h>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/standin/errors.h"

namespace smp::standin {

std::string Purpose::name() const {
    if (!communicator_.empty()) return communicator_;
    switch (most_) {
        case Work::nothing: return "nothing";
        case Work::copies_in: return "copies in";
        case Work::copies_out: return "copies out";
        case Work::kernels: break;
    }
    return "compute";
}

void TaskQueue::push(Task task) {
    if (of_ == Of::stream) begins_to_ask();
    {
        const std::lock_guard lock(mutex_);
        if (of_ == Of::stream) {
            count_given();
            if (given_ == ended_) add_busy(1);
        }
        tasks_.push_back(std::move(task));
        ++given_;
        if (!started_) std::thread([self = shared_from_this()] { self->work(); }).detach();
        started_ = true;
    }
    changed_.notify_all();
}

bool TaskQueue::idle() {
    const std::lock_guard lock(mutex_);
    return ended_ == given_;
}

bool TaskQueue::wait(std::optional<std::chrono::steady_clock::time_point> end) {
    std::unique_lock lock(mutex_);
    const auto is_over = [this, all = given_] { return ended_ >= all; };
    if (end) return changed_.wait_until(lock, *end, is_over);
    changed_.wait(lock, is_over);
    return true;
}

void TaskQueue::close() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    changed_.notify_all();
}

void TaskQueue::begin_late() {
    delays_.sleep();
    if (!held_back_.load(std::memory_order_relaxed)) return;
    // Hosts give no more when all of them wait, however long a busy machine interrupts one that does not; or when
    // nothing was given for so many looks, since one may wait for something else than events.
    constexpr int kLooks = 3000;
    const Standstill standstill;
    while (held_back_.load(std::memory_order_relaxed)) {
        const std::uint64_t now = given();
        if (std::exchange(given_at_looks_, now) != now) looks_ = 0;
        if ((all_hosts_wait() || looks_ >= kLooks) && !is_any_busy()) return;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        ++looks_;
    }
}

void TaskQueue::work() {
    ::pthread_setname_np(::pthread_self(), of_ == Of::stream ? "standin stream" : "standin nccl");
    for (;;) {
        Task task;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
            if (tasks_.empty()) return;
            task = std::move(tasks_.front());
            tasks_.pop_front();
        }
        if (of_ == Of::stream) begin_late();
        task();
        task = {};  // what it held goes before anybody hears of its end
        {
            const std::lock_guard lock(mutex_);
            if (++ended_ == given_ && of_ == Of::stream) add_busy(-1);
        }
        changed_.notify_all();
    }
}

namespace {

/// Of one device: the default stream, and all there are.
struct DeviceStreams {
    std::mutex mutex;
    Stream* by_default = nullptr;
    std::vector<std::weak_ptr<TaskQueue>> queues;
    std::set<std::pair<std::string, std::string>> joins;  // waiting and awaited

    Stream* add(int device) {
        auto* const stream = new Stream{device, std::make_shared<TaskQueue>(TaskQueue::Of::stream)};
        std::erase_if(queues, [](const auto& queue) { return queue.expired(); });
        queues.push_back(stream->queue);
        return stream;
    }
};
DeviceStreams& streams_of_device(int device) {
    static auto* const all = new std::array<DeviceStreams, kMostDevices>;
    return (*all)[static_cast<std::size_t>(device)];
}

using Event = std::shared_ptr<EventState>;
struct EventHandle {
    int device;
    bool is_timed;
    Event state = std::make_shared<EventState>();
    std::shared_ptr<TaskQueue> recorded_on = nullptr;
};
EventHandle& event_of(cudaEvent_t handle) { return *reinterpret_cast<EventHandle*>(handle); }

cudaError_t no_stream(const char* call) {
    return refuse(std::string(call) + ": streams per thread are not there", cudaErrorInvalidResourceHandle);
}

/// A call about a stream.
template <typename Body>
cudaError_t on_stream(const char* name, cudaStream_t handle, Body body) {
    return call(name, [&] {
        Stream* const stream = stream_of(handle);
        return stream == nullptr ? no_stream(name) : body(*stream);
    });
}

}  // namespace

Stream* stream_of(cudaStream_t handle) {
    if (handle == cudaStreamPerThread) return nullptr;
    if (handle != nullptr && handle != cudaStreamLegacy) return reinterpret_cast<Stream*>(handle);
    DeviceStreams& own = streams_of_device(current_device());
    const std::lock_guard lock(own.mutex);
    if (own.by_default == nullptr) own.by_default = own.add(current_device());
    return own.by_default;
}

bool wait_for_device(int device, std::optional<std::chrono::milliseconds> time) {
    std::vector<std::shared_ptr<TaskQueue>> queues;
    {
        DeviceStreams& all = streams_of_device(device);
        const std::lock_guard lock(all.mutex);
        for (const auto& queue : all.queues)
            if (auto there = queue.lock()) queues.push_back(std::move(there));
    }
    std::optional<std::chrono::steady_clock::time_point> end;
    if (time) end = std::chrono::steady_clock::now() + *time;
    return std::all_of(queues.begin(), queues.end(), [&](const auto& queue) { return queue->wait(end); });
}

std::uint64_t EventState::issue() {
    const std::lock_guard lock(mutex_);
    return ++issued_;
}

std::uint64_t EventState::issued() {
    const std::lock_guard lock(mutex_);
    return issued_;
}

void EventState::reach(std::uint64_t record) {
    const std::lock_guard lock(mutex_);
    reached_ = std::max(reached_, record);
    time_ = std::chrono::steady_clock::now();
    reached_more_.tell();
}

bool EventState::has_reached_all() {
    const std::lock_guard lock(mutex_);
    return reached_ >= issued_;
}

void EventState::wait(Crossing::Who who, std::uint64_t record) {
    std::unique_lock lock(mutex_);
    reached_more_.wait(who, lock, [&] { return reached_ >= record; });
}

std::chrono::steady_clock::time_point EventState::time() {
    const std::lock_guard lock(mutex_);
    return time_;
}

void joins(int device, void (*take)(void* context, const char* waiting, const char* awaited), void* context) {
    DeviceStreams& own = streams_of_device(device);
    const std::lock_guard lock(own.mutex);
    for (const auto& [waiting, awaited] : own.joins) take(context, waiting.c_str(), awaited.c_str());
    own.joins.clear();
}

void hold_back(const char* purpose) {
    for (int device = 0; device < device_count(); ++device) {
        DeviceStreams& own = streams_of_device(device);
        const std::lock_guard lock(own.mutex);
        for (const auto& queue : own.queues)
            if (const auto there = queue.lock())
                there->hold_back(purpose != nullptr && there->purpose.name() == purpose);
    }
}

}  // namespace smp::standin

extern "C" {

using namespace smp::standin;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int) {
    return call(__func__, [&] {
        if (flags != cudaStreamNonBlocking)
            return refuse(
                "cudaStreamCreateWithPriority: streams that wait for the default stream are not there, only "
                "cudaStreamNonBlocking");
        DeviceStreams& own = streams_of_device(current_device());
        const std::lock_guard lock(own.mutex);
        *handle = reinterpret_cast<cudaStream_t>(own.add(current_device()));
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
    return cudaStreamCreateWithPriority(handle, flags, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    return on_stream(__func__, handle, [](Stream& stream) {
        stream.queue->close();
        delete &stream;
        return cudaSuccess;
    });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    return on_stream(__func__, handle, [](Stream& stream) {
        count(counts(stream.device).streams);
        stream.queue->wait();
        return cudaSuccess;
    });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    return on_stream(__func__, handle,
                     [](Stream& stream) { return stream.queue->idle() ? cudaSuccess : cudaErrorNotReady; });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
    return on_stream(__func__, handle, [&](Stream& stream) {
        const EventHandle& awaits = event_of(event);
        const std::uint64_t record = awaits.state->issued();
        if (record == 0) return cudaSuccess;
        const std::string waiting = stream.queue->purpose.name(), awaited = awaits.recorded_on->purpose.name();
        {
            DeviceStreams& own = streams_of_device(stream.device);
            const std::lock_guard lock(own.mutex);
            own.joins.emplace(waiting, awaited);
        }
        if (!join_is_ignored(waiting, awaited))
            stream.queue->push([state = awaits.state, record] { state->wait(Crossing::Who::stream, record); });
        return cudaSuccess;
    });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* argument) {
    return on_stream(__func__, handle, [&](Stream& stream) {
        stream.queue->purpose.add(Purpose::Work::kernels);
        stream.queue->push([function, argument] { function(argument); });
        return cudaSuccess;
    });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status, unsigned long long*, cudaGraph_t*,
                                     const cudaGraphNode_t**, const cudaGraphEdgeData**, size_t*) {
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }

cudaError_t cudaDeviceSynchronize() {
    return call(__func__, [] {
        count(counts(current_device()).devices);
        wait_for_device(current_device());
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
    return call(__func__, [&] {
        count(counts(current_device()).events_created);
        *handle = reinterpret_cast<cudaEvent_t>(
            new EventHandle{.device = current_device(), .is_timed = (flags & cudaEventDisableTiming) == 0});
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    return call(__func__, [&] {
        delete &event_of(handle);
        return cudaSuccess;
    });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t on, unsigned) {
    return on_stream("cudaEventRecord", on, [&](Stream& stream) {
        EventHandle& event = event_of(handle);
        if (event.device != stream.device)
            return refuse("cudaEventRecord: an event of device " + std::to_string(event.device) +
                              " on a stream of device " + std::to_string(stream.device),
                          cudaErrorInvalidResourceHandle);
        count(counts(event.device).events_recorded);
        event.recorded_on = stream.queue;
        stream.queue->push([state = event.state, record = event.state->issue()] { state->reach(record); });
        return cudaSuccess;
    });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on) { return cudaEventRecordWithFlags(handle, on, 0); }

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    return call(__func__, [&] {
        const EventHandle& event = event_of(handle);
        count(counts(event.device).events_queried);
        if (event.state->has_reached_all()) return cudaSuccess;
        if (asks_in_vain(handle)) count(counts(event.device).polled);
        return cudaErrorNotReady;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    return call(__func__, [&] {
        const EventHandle& event = event_of(handle);
        count(counts(event.device).events);
        event.state->wait(Crossing::Who::host, event.state->issued());
        return cudaSuccess;
    });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    return call(__func__, [&] {
        EventState &first = *event_of(from).state, &last = *event_of(to).state;
        if (!event_of(from).is_timed || !event_of(to).is_timed)
            return refuse("cudaEventElapsedTime: an event that was made without timing",
                          cudaErrorInvalidResourceHandle);
        if (first.issued() == 0 || last.issued() == 0)
            return refuse("cudaEventElapsedTime: an event that was never recorded", cudaErrorInvalidResourceHandle);
        if (!first.has_reached_all() || !last.has_reached_all()) return cudaErrorNotReady;
        *milliseconds = std::chrono::duration<float, std::milli>(last.time() - first.time()).count();
        return cudaSuccess;
    });
}

}  // extern "C"
