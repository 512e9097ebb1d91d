// One rank's NCCL communicators: how they begin, how NCCL is waited for, and how they end. When anything has failed,
// all of them are aborted, in one group: an abort waits for what its device does, and a kernel that waits for a rank
// that is gone would keep the abort of another communicator for ever.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <nccl.h>

#include "comms/backends/nccl_library.h"
#include "comms/device/cuda_stream.h"
#include "comms/progress.h"

namespace smp::comms {

class NcclCommunicator;

/// What one rank has in flight over NCCL. Hears NCCL's asynchronous errors and the failures that the bootstrap knows
/// of; the first one is told, then ends all communicators.
class NcclProgress final : public PollingProgress {
  public:
    /// `on_failure`: as that of NcclGroups.
    NcclProgress(std::shared_ptr<Progress> bootstrap, int device,
                 std::function<void(const std::exception&)> on_failure = {});
    ~NcclProgress() override { leave_in_flight(); }

    int device() const { return device_; }
    /// The bootstrap's: a rank has one.
    const WaitLimit& limit() const override { return bootstrap_->limit(); }
    void set_limit(WaitLimit limit) override { bootstrap_->set_limit(std::move(limit)); }
    EventPool& event_pool() { return *events_; }
    /// Aborts all communicators. From any thread.
    void give_up() noexcept;

  protected:
    void look_for_failure() override;
    void on_failure() noexcept override;
    /// A host that runs a step ahead of its device has a thousand operations in flight, and looking at one is a call of
    /// the driver.
    Clock::duration between_looks() const override { return std::chrono::milliseconds(5); }

  private:
    friend class NcclCommunicator;

    std::shared_ptr<Progress> bootstrap_;
    int device_;
    std::function<void(const std::exception&)> tell_;
    std::shared_ptr<EventPool> events_;
    std::mutex mutex_;  // of the communicators' beginning and end
    std::vector<NcclCommunicator*> communicators_;
};

/// A piece of memory that goes to a peer, or comes from one.
struct NcclMessage {
    bool sending;
    void* data;
    std::size_t bytes;
    int peer;
};

/// A non-blocking communicator, the only kind that can be given up while a peer is gone, and its stream. Its
/// beginning and its end are collective. Destroyed while an exception passes, or with operations in flight, it fails
/// its rank's progress instead of waiting for peers that may never come.
class NcclCommunicator {
  public:
    struct Seat {
        int rank;
        int size;
        std::string name;
        std::vector<int> world_ranks;  // of its ranks
    };

    /// Blocks until all ranks with this id are connected.
    NcclCommunicator(Seat seat, const ncclUniqueId& id, std::shared_ptr<NcclProgress> progress);
    ~NcclCommunicator();
    NcclCommunicator(const NcclCommunicator&) = delete;
    NcclCommunicator& operator=(const NcclCommunicator&) = delete;

    ncclComm_t get() const { return comm_; }
    const CudaStream& stream() const { return stream_; }
    const Seat& seat() const { return seat_; }
    const std::shared_ptr<NcclProgress>& progress() const { return progress_; }
    /// World ranks of the others.
    std::vector<int> others() const;
    /// Whoever holds it is an operation in flight.
    std::shared_ptr<void> in_flight() const { return in_flight_; }

    /// Makes a call of NCCL and waits until NCCL has taken it: non-blocking calls go on behind their return, and no
    /// other may be made until then.
    template <typename Call>
    void issue(const char* operation, Call call) {
        check_nccl(call(), what(operation), comm_);
        settle(operation);
    }
    /// All messages at once, so that none waits for another. Those of no bytes are left out.
    void exchange(const char* operation, std::span<const NcclMessage> messages);

  private:
    friend class NcclProgress;
    class Settling;

    ncclConfig_t config() const;
    std::string what(const char* operation) const;
    /// Hears failures, answers inquiries and keeps the progress's limit as any wait does.
    void settle(const char* operation);
    bool is_in_flight() const;
    void end();
    void leave();  // the rank's communicators
    void check_asynchronous_errors() const;
    std::shared_ptr<NcclProgress> progress_;
    Seat seat_;
    CudaStream stream_;
    std::shared_ptr<int> in_flight_ = std::make_shared<int>();
    int exceptions_at_start_;
    std::atomic<ncclComm_t> comm_ = nullptr;  // once ended, too
};

}  // namespace smp::comms
