// Ranks as threads of one process. Messages are copied once, from tensor to tensor; collectives read and write all
// ranks' memory.
#include <algorithm>
#include <stdexcept>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "comms/backends/local_exchange.h"
#include "comms/backends/local_side_channel.h"
#include "comms/collectives/arguments.h"

namespace smp::comms {

namespace {

class LocalProgress final : public Progress {
  public:
    LocalProgress(std::shared_ptr<Exchange> exchange, int world_rank, WaitLimit limit)
        : Progress(std::move(limit), std::make_shared<Inquiry>(local_side_channel(exchange, world_rank))),
          exchange_(std::move(exchange)),
          world_rank_(world_rank) {}

  protected:
    void look_for_failure() override {
        const int rank = exchange_->failed_rank.load();
        if (rank < 0) return;
        std::lock_guard lock(exchange_->mutex);
        if (rank == world_rank_)
            fail(CommunicationError(exchange_->reason));
        else
            fail(CommunicationError(fmt::format("rank {} failed: {}", rank, exchange_->reason), /*by_peer=*/true));
    }
    std::uint64_t events() const override { return exchange_->bells[world_rank_]->rings(); }
    void rest(std::uint64_t events, Clock::duration waited, Clock::time_point until) override {
        // A bell is as good as a look; but whoever watches over this rank counts looks.
        constexpr std::chrono::milliseconds kBetweenLooks{100};
        exchange_->bells[world_rank_]->wait(
            events, waited < exchange_->patience ? exchange_->patience : Clock::duration::zero(),
            std::min(until, Clock::now() + kBetweenLooks));
    }

  private:
    std::shared_ptr<Exchange> exchange_;
    int world_rank_;
};

class MessageOperation final : public Operation {
  public:
    MessageOperation(std::shared_ptr<Letter> letter, Route route)
        : letter_(std::move(letter)), route_(std::move(route)) {}

    bool advance() override {
        if (!letter_->delivered.load(std::memory_order_acquire)) return false;
        if (!letter_->trouble.empty()) throw CommunicationError(fmt::format("{}: {}", describe(), letter_->trouble));
        return true;
    }
    std::string describe() const override { return route_.describe(); }
    std::vector<int> awaited() const override { return {route_.peer}; }

  private:
    std::shared_ptr<Letter> letter_;
    Route route_;
};

const char* name_of(Meeting::Kind kind) {
    switch (kind) {
        case Meeting::Kind::barrier: return "barrier";
        case Meeting::Kind::all_gather: return "all_gather";
        case Meeting::Kind::all_to_all: return "all_to_all";
        case Meeting::Kind::broadcast: return "broadcast";
        case Meeting::Kind::all_reduce: return "all_reduce";
        case Meeting::Kind::reduce_scatter: return "reduce_scatter";
    }
    return "?";
}

std::string describe(const Meeting::Call& call) {
    return fmt::format("{} of {} bytes", name_of(call.kind),
                       call.numel * static_cast<std::int64_t>(c10::elementSize(call.dtype)));
}

class MeetingOperation final : public Operation {
  public:
    MeetingOperation(std::shared_ptr<LocalGroup> group, std::shared_ptr<Meeting> meeting, std::string group_name)
        : group_(std::move(group)), meeting_(std::move(meeting)), group_name_(std::move(group_name)) {}

    bool advance() override {
        if (!meeting_->everybody_is_here()) return false;
        if (meeting_->work()) group_->ring_all();
        return meeting_->complete();
    }
    std::string describe() const override {
        return fmt::format("{} in '{}', still waiting for {}", comms::describe(meeting_->call()), group_name_,
                           listed(awaited()));
    }
    std::vector<int> awaited() const override {
        const std::lock_guard lock(group_->exchange->mutex);
        std::vector<int> ranks = meeting_->absent();
        for (int& rank : ranks) rank = group_->world_ranks[rank];
        return ranks;
    }

  private:
    std::shared_ptr<LocalGroup> group_;
    std::shared_ptr<Meeting> meeting_;
    std::string group_name_;
};

class LocalCommunicator final : public Communicator {
  public:
    LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank, std::string name, std::shared_ptr<Progress> progress)
        : group_(std::move(group)), rank_(rank), name_(std::move(name)), progress_(std::move(progress)) {}

    int rank() const override { return rank_; }
    int size() const override { return group_->size(); }
    const std::string& name() const override { return name_; }
    bool reduces_in_place() const override { return true; }
    int world_rank(int rank) const override { return group_->world_ranks[rank]; }
    void progress() override { progress_->step_all(); }
    const std::shared_ptr<Progress>& in_flight() const override { return progress_; }

    std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override;

    Work send(const at::Tensor& tensor, int peer) override {
        check_message(*this, "send", tensor, peer);
        return deliver(tensor, peer, /*sending=*/true);
    }
    Work receive(at::Tensor tensor, int peer) override {
        check_message(*this, "receive", tensor, peer);
        return deliver(std::move(tensor), peer, /*sending=*/false);
    }

    Work all_gather(at::Tensor output, const at::Tensor& input) override {
        check_all_gather(*this, output, input);
        return meet({.kind = Meeting::Kind::all_gather, .dtype = input.scalar_type(), .numel = input.numel()}, output,
                    input);
    }
    Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        check_all_to_all(*this, output, input);
        return meet({.kind = Meeting::Kind::all_to_all, .dtype = input.scalar_type(), .numel = input.numel()}, output,
                    input);
    }
    Work broadcast(at::Tensor tensor, int root) override {
        check_broadcast(*this, tensor, root);
        return meet(
            {.kind = Meeting::Kind::broadcast, .dtype = tensor.scalar_type(), .numel = tensor.numel(), .root = root},
            tensor, tensor);
    }
    Work reduce(const ReduceRequest& request) override {
        const bool everywhere = request.result == ReduceRequest::Result::everywhere;
        return meet({.kind = everywhere ? Meeting::Kind::all_reduce : Meeting::Kind::reduce_scatter,
                     .dtype = request.input.scalar_type(),
                     .numel = request.input.numel(),
                     .reduction = request.reduction},
                    request.output, request.input);
    }
    void barrier() override { meet({}, {}, {}).wait(); }

    void abort(const std::string& reason, int /*exit_code*/) noexcept override {
        try {
            group_->exchange->fail(group_->world_ranks[rank_], reason);
        } catch (...) {  // no memory for the reason
            group_->exchange->fail(group_->world_ranks[rank_], {});
        }
    }

    bool has_failed() const noexcept override { return group_->exchange->failed_rank.load() >= 0; }

  private:
    Work deliver(at::Tensor tensor, int peer, bool sending);
    Work meet(const Meeting::Call& call, at::Tensor output, at::Tensor input);

    std::shared_ptr<LocalGroup> group_;
    int rank_;
    std::string name_;
    std::shared_ptr<Progress> progress_;
    std::int64_t meetings_ = 0;  // that this rank has gone to
};

Work LocalCommunicator::deliver(at::Tensor tensor, int peer, bool sending) {
    progress_->require_usable();
    finish_stream(tensor);  // has written what is sent, or has read what will be overwritten
    Route route(*this, sending, tensor, peer);
    auto own = std::make_shared<Letter>();
    own->tensor = std::move(tensor);
    own->owner = group_->world_ranks[rank_];
    std::shared_ptr<Letter> other;
    {
        std::lock_guard lock(group_->exchange->mutex);
        auto& channel = sending ? group_->channel(rank_, peer) : group_->channel(peer, rank_);
        auto& counterparts = sending ? channel.awaited : channel.sent;
        if (counterparts.empty()) {
            (sending ? channel.sent : channel.awaited).push_back(own);
        } else {
            other = std::move(counterparts.front());
            counterparts.pop_front();
        }
    }
    if (other) {
        const auto& from = sending ? own->tensor : other->tensor;
        const auto& to = sending ? other->tensor : own->tensor;
        if (from.nbytes() != to.nbytes()) {
            own->trouble = other->trouble =
                fmt::format("{} bytes were sent, {} are to be received", from.nbytes(), to.nbytes());
        } else {
            try {
                copy_now(to, from);
            } catch (const std::exception& error) {
                own->trouble = other->trouble = error.what();
            }
        }
        own->tensor.reset();  // a rank that looks late holds nobody's memory
        other->tensor.reset();
        own->delivered.store(true, std::memory_order_release);
        other->delivered.store(true, std::memory_order_release);
        group_->exchange->ring(other->owner);
    }
    return progress_->begin(std::make_shared<MessageOperation>(std::move(own), std::move(route)));
}

Work LocalCommunicator::meet(const Meeting::Call& call, at::Tensor output, at::Tensor input) {
    progress_->require_usable();
    if (input.defined()) finish_stream(input);
    std::shared_ptr<Meeting> meeting;
    bool last = false;
    {
        std::lock_guard lock(group_->exchange->mutex);
        const std::int64_t number = meetings_++;
        auto& entry = group_->meetings[number];
        if (!entry) entry = std::make_shared<Meeting>(size(), call);
        meeting = entry;
        if (meeting->call() == call) {
            last = meeting->join(rank_, std::move(output), std::move(input));
            if (last) group_->meetings.erase(number);
        }
    }
    if (!(meeting->call() == call)) {
        const CommunicationError error(
            fmt::format("{}{}: another rank of the group called {} at this point; every rank calls the same "
                        "collectives in the same order",
                        describe(call), place(*this), describe(meeting->call())));
        progress_->fail(error);
        throw CommunicationError(error);
    }
    if (last) group_->ring_all();
    return progress_->begin(std::make_shared<MeetingOperation>(group_, std::move(meeting), name_));
}

std::unique_ptr<Communicator> LocalCommunicator::split(int color, int key, const std::string& name) {
    check_split(*this, color);
    const at::Tensor own = at::empty({2}, at::kLong), all = at::empty({2 * size()}, at::kLong);
    own.data_ptr<std::int64_t>()[0] = color;
    own.data_ptr<std::int64_t>()[1] = key;
    all_gather(all, own).wait();
    const std::vector<int> members = members_of_split(all, color);  // ranks here
    const auto position = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());

    std::shared_ptr<LocalGroup> group;
    {
        std::lock_guard lock(group_->exchange->mutex);
        const std::pair<std::int64_t, int> place_of_group{meetings_, color};
        auto& split = group_->splits[place_of_group];
        if (!split.group) {
            std::vector<int> world_ranks;
            for (const int member : members) world_ranks.push_back(group_->world_ranks[member]);
            split = {std::make_shared<LocalGroup>(group_->exchange, std::move(world_ranks)),
                     static_cast<int>(members.size())};
        }
        group = split.group;
        if (--split.missing == 0) group_->splits.erase(place_of_group);
    }
    return std::make_unique<LocalCommunicator>(std::move(group), position, name, progress_);
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> local_world(int ranks, const CommunicatorOptions& options) {
    if (ranks < 1) throw std::logic_error(fmt::format("local_world: {} ranks, at least 1 is needed", ranks));
    auto exchange = std::make_shared<Exchange>(ranks);
    std::vector<int> world_ranks(ranks);
    for (int rank = 0; rank < ranks; ++rank) world_ranks[rank] = rank;
    auto group = std::make_shared<LocalGroup>(exchange, std::move(world_ranks));
    std::vector<std::unique_ptr<Communicator>> world;
    for (int rank = 0; rank < ranks; ++rank)
        world.push_back(std::make_unique<LocalCommunicator>(
            group, rank, "world", std::make_shared<LocalProgress>(exchange, rank, options.limit)));
    return world;
}

}  // namespace smp::comms
