// What a CUDA stream has been given, as an operation in flight.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comms/device/cuda_stream.h"
#include "comms/progress.h"

namespace smp::comms {

/// Complete when the device has come to its end; the host only looks.
class StreamOperation final : public Operation {
  public:
    struct Facts {
        std::string description;
        std::vector<int> awaited = {};         // world ranks that it may wait for
        std::vector<at::Tensor> tensors = {};  // held, so that their memory is not given to others
        std::shared_ptr<void> in_flight = {};  // held until it is complete
    };

    /// Of all that `stream` holds now. `progress` will own it.
    StreamOperation(Facts facts, Progress& progress, EventPool& events, cudaStream_t stream);

    bool advance() override;
    bool join() override;
    bool call_at_end(const std::function<void()>& note) override;
    std::string describe() const override { return facts_.description; }
    std::vector<int> awaited() const override { return facts_.awaited; }
    // Nobody is told when a device is done.
    Clock::time_point due() const override { return Clock::now() + std::chrono::microseconds(50); }

  private:
    Facts facts_;
    Progress& progress_;
    cudaStream_t stream_;
    EventPool& events_;
    std::optional<CudaEvent> done_;
};

/// Calls `note` on a thread of the driver's when `stream` has done what it holds now; what it is given later waits for
/// that. `note` calls nothing of CUDA.
void call_in_stream(cudaStream_t stream, std::function<void()> note);

}  // namespace smp::comms
