#include "comms/device/copy_stream.h"

#include <atomic>
#include <cstring>
#include <pthread.h>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "comms/progress.h"

namespace smp::comms {

/// In flight for the rank's thread, a job for the stream's.
class HostCopyStream::Copy : public Operation {
  public:
    Copy(std::string name, at::Tensor destination, at::Tensor source, std::function<void()> on_end)
        : name_(std::move(name)),
          bytes_(source.nbytes()),
          destination_(std::move(destination)),
          source_(std::move(source)),
          on_end_(std::move(on_end)) {}

    bool advance() override { return has_ended_.load(std::memory_order_acquire); }
    std::string describe() const override { return fmt::format("one of the {}, of {} bytes,", name_, bytes_); }
    // Nobody is told when the other thread is done.
    Clock::time_point due() const override { return Clock::now() + std::chrono::microseconds(50); }

    void run(const CopyOptions& options) {
        const auto begin = Clock::now();
        std::memcpy(destination_.mutable_data_ptr(), source_.const_data_ptr(), bytes_);
        const std::chrono::duration<double> least(static_cast<double>(bytes_) / options.bytes_per_second);
        std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(least));
        // The memory is free again before anybody can know that the copy has ended.
        destination_.reset();
        source_.reset();
        if (on_end_) on_end_();
        has_ended_.store(true, std::memory_order_release);
    }

  private:
    const std::string name_;
    const std::size_t bytes_;
    at::Tensor destination_, source_;  // the stream's thread's alone
    std::function<void()> on_end_;
    std::atomic<bool> has_ended_ = false;
};

void CopyStream::require_copy(const std::string& name, const at::Tensor& destination, const at::Tensor& source) {
    for (const at::Tensor& tensor : {destination, source})
        if (!tensor.defined() || !tensor.is_contiguous())
            throw std::logic_error(fmt::format("{}: needs contiguous tensors", name));
    if (destination.nbytes() != source.nbytes())
        throw std::logic_error(fmt::format("{}: {} bytes do not fit {}", name, source.nbytes(), destination.nbytes()));
}

HostCopyStream::HostCopyStream(std::string name, std::shared_ptr<Progress> progress, const CopyOptions& options)
    : name_(std::move(name)), progress_(std::move(progress)), options_(options), thread_([this] { run(); }) {}

HostCopyStream::~HostCopyStream() {
    {
        const std::lock_guard lock(mutex_);
        stops_ = true;
    }
    has_work_.notify_one();
    thread_.join();
}

Work HostCopyStream::copy(at::Tensor destination, at::Tensor source, std::function<void()> on_end) {
    require_copy(name_, destination, source);
    if (!destination.is_cpu() || !source.is_cpu()) throw std::logic_error(fmt::format("{}: needs CPU tensors", name_));
    const auto copy = std::make_shared<Copy>(name_, std::move(destination), std::move(source), std::move(on_end));
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(copy);
    }
    has_work_.notify_one();
    return progress_->begin(copy);
}

void HostCopyStream::run() {
    pthread_setname_np(pthread_self(), "smp copies");
    for (;;) {
        std::shared_ptr<Copy> next;
        {
            std::unique_lock lock(mutex_);
            has_work_.wait(lock, [this] { return stops_ || !queue_.empty(); });
            if (stops_) return;
            next = std::move(queue_.front());
            queue_.pop_front();
        }
        next->run(options_);
    }
}

}  // namespace smp::comms
