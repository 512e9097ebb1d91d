// Builds without CUDA: every rank computes on the CPU.
#include <cstring>
#include <stdexcept>
#include <utility>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "comms/device/join_times.h"
#include "comms/device/rank_device.h"

namespace smp::comms {

struct RankDevice::Compute {};

int cuda_device_count() { return 0; }
std::vector<std::string> cuda_device_ids() { return {}; }
std::vector<std::string> described_cuda_devices() { return {}; }
void prepare_cuda_queues() noexcept {}

RankDevice::RankDevice(c10::Device device) : device_(device) {
    if (!device.is_cpu())
        throw CommunicationError(
            fmt::format("a rank is to compute on {}, but this program was built without CUDA; use cluster.device "
                        "\"cpu\", or build with -DSMP_CUDA=ON where nvcc is installed",
                        device.str()));
}

RankDevice::~RankDevice() = default;

c10::OptionalStreamGuard RankDevice::enter() const { return c10::OptionalStreamGuard(); }
Work RankDevice::reached(const std::shared_ptr<Progress>&, std::string) const { return {}; }
void RankDevice::call_when_reached(std::function<void()> note) const { note(); }

void RankDevice::copy(const at::Tensor& destination, const at::Tensor& source) const {
    CopyStream::require_copy("a copy", destination, source);
    std::memcpy(destination.mutable_data_ptr(), source.const_data_ptr(), source.nbytes());
}

at::Tensor RankDevice::copy_of(const at::Tensor& source) const { return source; }

std::unique_ptr<CopyStream> RankDevice::make_copy_stream(std::string name, std::shared_ptr<Progress> progress,
                                                         const CopyOptions& options) const {
    return std::make_unique<HostCopyStream>(std::move(name), std::move(progress), options);
}

at::Tensor RankDevice::host_memory(std::int64_t bytes) const { return at::empty({bytes}, at::kByte); }

struct JoinTimes::Events {};

JoinTimes::JoinTimes(const RankDevice&, const Options&) {
    throw std::logic_error("joins are timed on CUDA devices, and this program was built without");
}
JoinTimes::~JoinTimes() = default;
JoinTimes::Run::Run(JoinTimes& times) : times_(times) {}
JoinTimes::Run::~Run() = default;
void JoinTimes::Run::set_kind(int) {}
void JoinTimes::Run::end() {}
std::optional<JoinTimes::Durations> JoinTimes::durations() const { return std::nullopt; }
void JoinTimes::before_join() {}
void JoinTimes::after_join() {}

}  // namespace smp::comms
