#include "comms/backends/delayed.h"

#include <algorithm>
#include <vector>

#include <ATen/ops/empty.h>

#include "comms/collectives/arguments.h"
#include "comms/progress.h"

namespace smp::comms {

namespace {

/// A message and, ahead of it, the time of its arrival. The receiver sees it complete at that time.
class DelayedOperation final : public Operation {
  public:
    DelayedOperation(Progress& progress, Route route, at::Tensor arrival, Work note, Work message)
        : progress_(progress),
          route_(std::move(route)),
          arrival_(std::move(arrival)),
          note_(note.release()),
          message_(message.release()) {}

    bool advance() override {
        if (!arrived(note_) || !arrived(message_)) return false;
        return route_.sending || Clock::now() >= arrival();
    }
    std::string describe() const override { return route_.describe(); }
    std::vector<int> awaited() const override { return {route_.peer}; }
    Clock::time_point due() const override { return note_ || message_ ? Clock::time_point::max() : arrival(); }

  private:
    bool arrived(std::shared_ptr<Operation>& part) const {
        if (part && progress_.step(*part)) part.reset();
        return part == nullptr;
    }
    Clock::time_point arrival() const {
        return Clock::time_point(Clock::duration(arrival_.const_data_ptr<std::int64_t>()[0]));
    }

    Progress& progress_;  // owns this
    Route route_;
    at::Tensor arrival_;                         // [1], int64: of the steady clock
    std::shared_ptr<Operation> note_, message_;  // null once complete
};

/// A collective that is not complete before its time.
class DelayedCollective final : public Operation {
  public:
    DelayedCollective(Progress& progress, Work work, Clock::time_point not_before)
        : progress_(progress), operation_(work.release()), not_before_(not_before) {}

    bool advance() override {
        if (operation_ && progress_.step(*operation_)) operation_.reset();
        return !operation_ && Clock::now() >= not_before_;
    }
    std::string describe() const override { return operation_ ? operation_->describe() : "a delayed collective"; }
    std::vector<int> awaited() const override { return operation_ ? operation_->awaited() : std::vector<int>{}; }
    Clock::time_point due() const override { return operation_ ? Clock::time_point::max() : not_before_; }

  private:
    Progress& progress_;                    // owns this
    std::shared_ptr<Operation> operation_;  // null once complete
    Clock::time_point not_before_;
};

class DelayedCommunicator final : public Communicator {
  public:
    DelayedCommunicator(std::unique_ptr<Communicator> group, const Link& link)
        : group_(std::move(group)), link_(link), free_at_(group_->size()) {}

    int rank() const override { return group_->rank(); }
    int size() const override { return group_->size(); }
    const std::string& name() const override { return group_->name(); }
    bool reduces_in_place() const override { return group_->reduces_in_place(); }
    int world_rank(int rank) const override { return group_->world_rank(rank); }
    std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
        return delayed(group_->split(color, key, name), link_);
    }

    Work send(const at::Tensor& tensor, int peer) override {
        check_message(*this, "send", tensor, peer);
        const std::chrono::duration<double> carried(static_cast<double>(tensor.nbytes()) / link_.bytes_per_second);
        Clock::time_point& free_at = free_at_[peer];
        free_at = std::max(free_at, Clock::now()) + std::chrono::duration_cast<Clock::duration>(carried);
        const at::Tensor arrival = at::empty({1}, at::kLong);
        arrival.data_ptr<std::int64_t>()[0] = (free_at + link_.latency).time_since_epoch().count();
        Work note = group_->send(arrival, peer);
        return begin(true, tensor, peer, arrival, std::move(note), group_->send(tensor, peer));
    }
    Work receive(at::Tensor tensor, int peer) override {
        check_message(*this, "receive", tensor, peer);
        const at::Tensor arrival = at::empty({1}, at::kLong);
        Work note = group_->receive(arrival, peer);
        return begin(false, tensor, peer, arrival, std::move(note), group_->receive(tensor, peer));
    }

    Work all_gather(at::Tensor output, const at::Tensor& input) override {
        return carried(group_->all_gather(std::move(output), input), (size() - 1) * bytes_of(input));
    }
    Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        return carried(group_->all_to_all(std::move(output), input), own_share() * bytes_of(input));
    }
    Work broadcast(at::Tensor tensor, int root) override { return group_->broadcast(std::move(tensor), root); }
    Work reduce(const ReduceRequest& request) override {
        const int passes = request.result == ReduceRequest::Result::everywhere ? 2 : 1;
        return carried(group_->reduce(request), passes * own_share() * bytes_of(request.input));
    }
    void barrier() override { group_->barrier(); }
    void progress() override { group_->progress(); }
    void abort(const std::string& reason, int exit_code) noexcept override { group_->abort(reason, exit_code); }
    bool has_failed() const noexcept override { return group_->has_failed(); }
    const std::shared_ptr<Progress>& in_flight() const override { return group_->in_flight(); }

  private:
    static double bytes_of(const at::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }
    /// What others get of a piece for each rank.
    double own_share() const { return (size() - 1) / static_cast<double>(size()); }
    Work carried(Work work, double bytes) {
        const std::chrono::duration<double> carried(bytes / link_.collective_bytes_per_second);
        if (carried.count() == 0) return work;
        way_out_free_at_ =
            std::max(way_out_free_at_, Clock::now()) + std::chrono::duration_cast<Clock::duration>(carried);
        Progress& progress = *in_flight();
        return progress.begin(std::make_shared<DelayedCollective>(progress, std::move(work), way_out_free_at_));
    }
    Work begin(bool sending, const at::Tensor& tensor, int peer, at::Tensor arrival, Work note, Work message) {
        Progress& progress = *in_flight();
        return progress.begin(std::make_shared<DelayedOperation>(
            progress, Route(*this, sending, tensor, peer), std::move(arrival), std::move(note), std::move(message)));
    }

    std::unique_ptr<Communicator> group_;
    Link link_;
    Clock::time_point way_out_free_at_;       // when the collectives so far have been carried
    std::vector<Clock::time_point> free_at_;  // by peer: when the link to it has carried what it was given
};

}  // namespace

std::unique_ptr<Communicator> delayed(std::unique_ptr<Communicator> group, const Link& link) {
    return std::make_unique<DelayedCommunicator>(std::move(group), link);
}

}  // namespace smp::comms
