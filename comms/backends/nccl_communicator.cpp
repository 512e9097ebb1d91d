#include "comms/backends/nccl_communicator.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

namespace smp::comms {

namespace {

// Blocks that a communicator's kernels may have. All communicators of a rank (tensor, data, an edge each way) must fit
// its device at once beside compute: then no order between them can make them wait for each other.
constexpr int kMostBlocks = 4;

c10::cuda::CUDAGuard on(int device) { return c10::cuda::CUDAGuard(static_cast<c10::DeviceIndex>(device)); }

}  // namespace

NcclProgress::NcclProgress(std::shared_ptr<Progress> bootstrap, int device,
                           std::function<void(const std::exception&)> on_failure)
    : PollingProgress({}, bootstrap->inquiry(), /*own_processor=*/true),
      bootstrap_(std::move(bootstrap)),
      device_(device),
      tell_(std::move(on_failure)),
      events_(std::make_shared<EventPool>(device)) {}

void NcclProgress::look_for_failure() {
    try {
        bootstrap_->require_usable();
        for (const NcclCommunicator* const communicator : communicators_) communicator->check_asynchronous_errors();
    } catch (const CommunicationError& error) {
        fail(error);
    }
}

void NcclProgress::on_failure() noexcept {
    if (tell_ && std::uncaught_exceptions() == 0) {
        try {
            require_usable();
        } catch (const CommunicationError& error) {
            tell_(error);
        }
    }
    give_up();
}

// What these calls return is not looked at: the failure that is the reason is known and told, nothing else ends what is
// in flight, and whoever uses a communicator from now on is told of the failure.
void NcclProgress::give_up() noexcept {
    const std::lock_guard lock(mutex_);
    (void)ncclGroupStart();
    for (NcclCommunicator* const communicator : communicators_)
        if (ncclComm_t comm = communicator->comm_.exchange(nullptr)) (void)ncclCommAbort(comm);
    (void)ncclGroupEnd();
}

/// A wait for NCCL itself, which says only whether it is done.
class NcclCommunicator::Settling final : public Operation {
  public:
    Settling(const NcclCommunicator& communicator, const char* operation)
        : communicator_(communicator), operation_(operation) {}

    bool advance() override {
        ncclResult_t state = ncclSuccess;
        check_nccl(ncclCommGetAsyncError(communicator_.comm_, &state), "ncclCommGetAsyncError", communicator_.comm_);
        if (state == ncclInProgress) return false;
        check_nccl(state, communicator_.what(operation_), communicator_.comm_);
        return true;
    }
    std::string describe() const override { return fmt::format("{} in '{}'", operation_, communicator_.seat_.name); }
    std::vector<int> awaited() const override { return communicator_.others(); }

  private:
    const NcclCommunicator& communicator_;
    const char* operation_;
};

NcclCommunicator::NcclCommunicator(Seat seat, const ncclUniqueId& id, std::shared_ptr<NcclProgress> progress)
    : progress_(std::move(progress)),
      seat_(std::move(seat)),
      stream_(progress_->device(), CudaStream::Priority::high),
      exceptions_at_start_(std::uncaught_exceptions()) {
    progress_->require_usable();
    const auto guard = on(progress_->device());
    {
        const std::lock_guard lock(progress_->mutex_);
        progress_->communicators_.push_back(this);
    }
    try {
        ncclConfig_t wishes = config();
        issue("ncclCommInitRankConfig", [&] {
            ncclComm_t comm = nullptr;
            const ncclResult_t code = ncclCommInitRankConfig(&comm, seat_.size, id, seat_.rank, &wishes);
            comm_ = comm;
            return code;
        });
    } catch (const std::exception& error) {
        progress_->fail(CommunicationError(error.what()));
        leave();
        throw;
    }
}

NcclCommunicator::~NcclCommunicator() {
    if (comm_ != nullptr) {
        if (std::uncaught_exceptions() > exceptions_at_start_)
            progress_->fail(CommunicationError(fmt::format("'{}' was left by an exception", seat_.name)));
        else if (is_in_flight())
            progress_->fail(CommunicationError(
                fmt::format("'{}' was destroyed while an operation of it was in flight", seat_.name)));
        else
            end();
    }
    leave();
}

bool NcclCommunicator::is_in_flight() const {
    if (in_flight_.use_count() == 1) return false;
    try {
        progress_->step_all();         // what has ended is not, though nobody has looked since
    } catch (const std::exception&) {  // the next who waits is told
    }
    return in_flight_.use_count() > 1;
}

void NcclCommunicator::leave() {
    const std::lock_guard lock(progress_->mutex_);
    std::erase(progress_->communicators_, this);
}

void NcclCommunicator::end() {
    try {
        const auto guard = on(progress_->device());
        issue("ncclCommFinalize", [&] { return ncclCommFinalize(comm_); });
        check_nccl(ncclCommDestroy(comm_), what("ncclCommDestroy"));
        comm_ = nullptr;
    } catch (const std::exception& error) {  // the next who waits is told
        progress_->fail(CommunicationError(error.what()));
    }
}

ncclConfig_t NcclCommunicator::config() const {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.maxCTAs = kMostBlocks;
    config.commName = seat_.name.c_str();  // not copied by NCCL
    return config;
}

std::vector<int> NcclCommunicator::others() const {
    std::vector<int> ranks = seat_.world_ranks;
    ranks.erase(ranks.begin() + seat_.rank);
    return ranks;
}

std::string NcclCommunicator::what(const char* operation) const {
    return fmt::format("{} in '{}' (I am rank {}, GPU {})", operation, seat_.name, seat_.world_ranks[seat_.rank],
                       progress_->device());
}

void NcclCommunicator::settle(const char* operation) {
    Settling settling(*this, operation);
    if (!settling.advance()) progress_->wait(settling);
}

void NcclCommunicator::exchange(const char* operation, std::span<const NcclMessage> messages) {
    issue(operation, [&] {
        // Nothing but NCCL's calls in here: a group that is left half way starts what it has.
        ncclResult_t code = ncclGroupStart();
        if (code != ncclSuccess) return code;
        for (const auto& [sending, data, bytes, peer] : messages) {
            if (bytes == 0 || code != ncclSuccess) continue;
            code = sending ? ncclSend(data, bytes, ncclUint8, peer, comm_, stream_.get())
                           : ncclRecv(data, bytes, ncclUint8, peer, comm_, stream_.get());
        }
        const ncclResult_t end = ncclGroupEnd();  // starts nothing after an error
        return code != ncclSuccess ? code : end;
    });
}

void NcclCommunicator::check_asynchronous_errors() const {
    if (comm_ == nullptr) return;
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError", comm_);
    if (state != ncclSuccess) check_nccl(state, what("communication"), comm_);
}

}  // namespace smp::comms
