#include "runtime/update/collective_lane.h"

#include <deque>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "comms/progress.h"
#include "partition/plan/action_kinds.h"

namespace smp::runtime {

class CollectiveLane::Queue {
  public:
    explicit Queue(comms::Progress& progress) : progress_(progress) {}

    /// Number of the collective, from 1.
    std::int64_t add(std::function<comms::Work()> begin) {
        waiting_.push_back(std::move(begin));
        return ++added_;
    }
    void advance() {
        for (;;) {
            while (!in_flight_.empty() && is_complete(in_flight_.front())) {
                in_flight_.pop_front();
                ++complete_;
            }
            if (waiting_.empty() || in_flight_.size() == partition::kDataCollectivesAtOnce) return;
            const auto begin = std::move(waiting_.front());
            waiting_.pop_front();
            in_flight_.push_back(begin().release());
        }
    }
    /// Whether collective `number` and all before it are.
    bool has_completed(std::int64_t number) const { return complete_ >= number; }
    std::string describe() const {
        return in_flight_.empty() || !in_flight_.front() ? "nothing in flight" : in_flight_.front()->describe();
    }
    std::vector<int> awaited() const {
        return in_flight_.empty() || !in_flight_.front() ? std::vector<int>{} : in_flight_.front()->awaited();
    }
    /// Nothing begins any more: the group may go.
    void close() { waiting_.clear(); }

  private:
    bool is_complete(const std::shared_ptr<comms::Operation>& operation) const {
        return !operation || progress_.step(*operation);
    }

    comms::Progress& progress_;  // owns the operations that use this
    std::deque<std::function<comms::Work()>> waiting_;
    std::deque<std::shared_ptr<comms::Operation>> in_flight_;  // null: complete from the start
    std::int64_t added_ = 0, complete_ = 0;
};

class CollectiveLane::QueuedOperation final : public comms::Operation {
  public:
    QueuedOperation(std::shared_ptr<Queue> queue, std::string what, std::int64_t number)
        : queue_(std::move(queue)), what_(std::move(what)), number_(number) {}

    bool advance() override {
        queue_->advance();
        return queue_->has_completed(number_);
    }
    std::string describe() const override { return fmt::format("{}: {}", what_, queue_->describe()); }
    std::vector<int> awaited() const override { return queue_->awaited(); }

  private:
    std::shared_ptr<Queue> queue_;
    std::string what_;
    std::int64_t number_;
};

CollectiveLane::CollectiveLane(comms::Communicator& group)
    : group_(group), queue_(std::make_shared<Queue>(*group.in_flight())) {}

CollectiveLane::~CollectiveLane() { queue_->close(); }

comms::Work CollectiveLane::add(std::string what, std::function<comms::Work()> begin) {
    const std::int64_t number = queue_->add(std::move(begin));
    return group_.in_flight()->begin(std::make_shared<QueuedOperation>(queue_, std::move(what), number));
}

}  // namespace smp::runtime
