#include "comms/device/stream_operation.h"

#include <utility>

#include <c10/cuda/CUDAGuard.h>

#include "comms/device/join_times.h"

namespace smp::comms {

StreamOperation::StreamOperation(Facts facts, Progress& progress, EventPool& events, cudaStream_t stream)
    : facts_(std::move(facts)), progress_(progress), stream_(stream), events_(events), done_(events.record(stream)) {}

bool StreamOperation::advance() {
    if (!done_->reached()) return false;
    // An abort ends kernels, too: then there is nothing where the results should be.
    progress_.require_usable();
    facts_.in_flight.reset();
    return true;
}

bool StreamOperation::join() {
    const c10::cuda::CUDAGuard guard(events_.device());  // a default stream is the current device's
    JoinTimes::before_join();
    check_cuda(cudaStreamWaitEvent(events_.current_stream(), done_->get(), 0), "cudaStreamWaitEvent");
    JoinTimes::after_join();
    facts_.tensors.clear();
    return true;
}

bool StreamOperation::call_at_end(const std::function<void()>& note) {
    call_in_stream(stream_, note);
    done_.emplace(events_.record(stream_));  // whoever waits for the end finds what was noted
    return true;
}

void call_in_stream(cudaStream_t stream, std::function<void()> note) {
    auto own = std::make_unique<std::function<void()>>(std::move(note));
    const auto call = [](void* context) {
        const std::unique_ptr<std::function<void()>> called(static_cast<std::function<void()>*>(context));
        (*called)();
    };
    check_cuda(cudaLaunchHostFunc(stream, call, own.get()), "cudaLaunchHostFunc");
    (void)own.release();  // the call's now
}

}  // namespace smp::comms
