#include "comms/device/rank_device.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

#include "comms/device/cuda_stream.h"
#include "comms/device/stream_operation.h"

namespace smp::comms {

namespace {

/// Blocks as large as they are asked for: LibTorch's own allocator rounds up to powers of two. They are freed at the
/// end, when a rank has nothing in flight any more, since CUDA may wait then for all that the device does.
class PinnedMemory : public std::enable_shared_from_this<PinnedMemory> {
  public:
    explicit PinnedMemory(int device) : device_(device) {}
    PinnedMemory(const PinnedMemory&) = delete;
    PinnedMemory& operator=(const PinnedMemory&) = delete;
    ~PinnedMemory() {
        for (const auto& [bytes, block] : unused_) (void)cudaFreeHost(block);
    }

    at::Tensor take(std::int64_t bytes) {
        void* const block = take_block(bytes);
        return at::from_blob(
            block, {bytes},
            [own = shared_from_this(), bytes](void* given_up) {
                const std::lock_guard lock(own->mutex_);
                own->unused_.emplace(bytes, given_up);
            },
            at::kByte);
    }

  private:
    void* take_block(std::int64_t bytes) {
        {
            const std::lock_guard lock(mutex_);
            if (const auto found = unused_.find(bytes); found != unused_.end()) return unused_.extract(found).mapped();
        }
        const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
        void* block = nullptr;
        const cudaError_t code = cudaHostAlloc(&block, static_cast<std::size_t>(bytes), cudaHostAllocDefault);
        if (code == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError();  // said here, and not again by whoever starts the next kernel
            throw std::bad_alloc();
        }
        check_cuda(code, "cudaHostAlloc");
        return block;
    }

    const int device_;
    std::mutex mutex_;
    std::multimap<std::int64_t, void*> unused_;  // by bytes
};

}  // namespace

struct RankDevice::Compute {
    explicit Compute(int device)
        : stream(device, CudaStream::Priority::low),
          events(std::make_shared<EventPool>(device)),
          pinned(std::make_shared<PinnedMemory>(device)) {}

    CudaStream stream;
    std::shared_ptr<EventPool> events;
    std::shared_ptr<PinnedMemory> pinned;
};

namespace {

/// A point of compute's stream. Who waits for it in vain waits for what is in flight ahead of it.
class Reached final : public Operation {
  public:
    Reached(std::string what, Progress& progress, EventPool& events, cudaStream_t stream)
        : progress_(progress), end_({.description = std::move(what)}, progress, events, stream) {}

    bool advance() override { return end_.advance(); }
    std::string describe() const override {
        const Operation* const first = held_up_by();
        return first == nullptr ? end_.describe() : fmt::format("{} (behind {})", end_.describe(), first->describe());
    }
    std::vector<int> awaited() const override {
        const Operation* const first = held_up_by();
        return first == nullptr ? std::vector<int>{} : first->awaited();
    }
    Clock::time_point due() const override { return end_.due(); }

  private:
    const Operation* held_up_by() const { return progress_.oldest() == this ? nullptr : progress_.oldest(); }

    Progress& progress_;  // owns this
    StreamOperation end_;
};

/// Copies of one direction, on a stream of their own.
class CudaCopyStream final : public CopyStream {
  public:
    CudaCopyStream(std::string name, std::shared_ptr<Progress> progress, int device)
        : name_(std::move(name)),
          progress_(std::move(progress)),
          stream_(device, CudaStream::Priority::low),
          events_(std::make_shared<EventPool>(device)) {}

    Work copy(at::Tensor destination, at::Tensor source, std::function<void()> on_end) override {
        require_copy(name_, destination, source);
        const c10::cuda::CUDAGuard guard(events_->device());
        stream_.wait(events_->record(events_->current_stream()));
        check_cuda(cudaMemcpyAsync(destination.mutable_data_ptr(), source.const_data_ptr(), source.nbytes(),
                                   cudaMemcpyDefault, stream_.get()),
                   name_);
        const std::size_t bytes = source.nbytes();
        if (on_end) call_in_stream(stream_.get(), std::move(on_end));
        return progress_->begin(std::make_shared<StreamOperation>(
            StreamOperation::Facts{.description = fmt::format("one of the {}, of {} bytes,", name_, bytes),
                                   .tensors = {std::move(destination), std::move(source)}},
            *progress_, *events_, stream_.get()));
    }

  private:
    const std::string name_;
    std::shared_ptr<Progress> progress_;
    CudaStream stream_;
    std::shared_ptr<EventPool> events_;
};

}  // namespace

int cuda_device_count() { return c10::cuda::device_count(); }

namespace {

std::vector<cudaDeviceProp> device_properties() {
    std::vector<cudaDeviceProp> all(static_cast<std::size_t>(cuda_device_count()));
    for (std::size_t device = 0; device < all.size(); ++device)
        check_cuda(cudaGetDeviceProperties(&all[device], static_cast<int>(device)), "cudaGetDeviceProperties");
    return all;
}

}  // namespace

std::vector<std::string> cuda_device_ids() {
    std::vector<std::string> ids;
    for (const cudaDeviceProp& device : device_properties()) {  // parts of one device (MIG) have a UUID each
        std::string id = fmt::format("{:x}.{:x}.{:x}.", device.pciDomainID, device.pciBusID, device.pciDeviceID);
        for (const char byte : device.uuid.bytes) id += fmt::format("{:02x}", static_cast<unsigned char>(byte));
        ids.push_back(std::move(id));
    }
    return ids;
}

std::vector<std::string> described_cuda_devices() {
    std::vector<std::string> devices;
    for (const cudaDeviceProp& device : device_properties())
        devices.push_back(fmt::format("{}, {:.1f} GiB", device.name,
                                      static_cast<double>(device.totalGlobalMem) / (std::uint64_t{1} << 30)));
    return devices;
}

void prepare_cuda_queues() noexcept { (void)::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0); }

RankDevice::RankDevice(c10::Device device) : device_(device) {
    if (device.is_cpu()) return;
    const int count = cuda_device_count();
    if (!device.is_cuda() || device.index() < 0 || device.index() >= count)
        throw CommunicationError(
            fmt::format("a rank is to compute on {}, but CUDA sees {} device{} here; check "
                        "nvidia-smi and CUDA_VISIBLE_DEVICES, or use cluster.device \"cpu\"",
                        device.str(), count, count == 1 ? "" : "s"));
    compute_ = std::make_unique<Compute>(device.index());
}

RankDevice::~RankDevice() = default;

c10::OptionalStreamGuard RankDevice::enter() const {
    return compute_ ? c10::OptionalStreamGuard(compute_->stream.for_torch().unwrap()) : c10::OptionalStreamGuard();
}

Work RankDevice::reached(const std::shared_ptr<Progress>& progress, std::string what) const {
    if (!compute_) return {};
    return progress->begin(
        std::make_shared<Reached>(std::move(what), *progress, *compute_->events, compute_->stream.get()));
}

void RankDevice::call_when_reached(std::function<void()> note) const {
    if (!compute_) return note();
    call_in_stream(compute_->stream.get(), std::move(note));
}

void RankDevice::copy(const at::Tensor& destination, const at::Tensor& source) const {
    CopyStream::require_copy("a copy", destination, source);
    if (!compute_) {
        std::memcpy(destination.mutable_data_ptr(), source.const_data_ptr(), source.nbytes());
        return;
    }
    check_cuda(cudaMemcpyAsync(destination.mutable_data_ptr(), source.const_data_ptr(), source.nbytes(),
                               cudaMemcpyDefault, compute_->stream.get()),
               "a copy");
}

at::Tensor RankDevice::copy_of(const at::Tensor& source) const {
    if (!compute_) return source;
    at::Tensor here = at::empty(source.sizes(), at::TensorOptions().dtype(source.scalar_type()).device(device_));
    copy(here, source);
    return here;
}

std::unique_ptr<CopyStream> RankDevice::make_copy_stream(std::string name, std::shared_ptr<Progress> progress,
                                                         const CopyOptions& options) const {
    if (!compute_) return std::make_unique<HostCopyStream>(std::move(name), std::move(progress), options);
    return std::make_unique<CudaCopyStream>(std::move(name), std::move(progress), device_.index());
}

at::Tensor RankDevice::host_memory(std::int64_t bytes) const {
    return compute_ ? compute_->pinned->take(bytes) : at::empty({bytes}, at::kByte);
}

}  // namespace smp::comms
