#include "runtime/gradient_reduction.h"

#include <deque>
#include <functional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "comms/progress.h"

namespace smp::runtime {

namespace {

// One moves while the next is being added up, and there is no more scratch memory than that.
constexpr std::size_t kInFlight = 2;

}  // namespace

/// Collectives that begin in the order in which they were added, each when there is room and what it needs is complete.
class GradientReduction::Queue {
  public:
    explicit Queue(comms::Progress& progress) : progress_(progress) {}

    /// Number of the collective, from 1. It begins once collective `needs` is complete (0: at once).
    std::int64_t add(std::int64_t needs, std::function<comms::Work()> begin) {
        waiting_.push_back({needs, std::move(begin)});
        return ++added_;
    }
    void advance() {
        for (;;) {
            while (!in_flight_.empty() && is_complete(in_flight_.front())) {
                in_flight_.pop_front();
                ++complete_;
            }
            if (waiting_.empty() || in_flight_.size() == kInFlight || waiting_.front().needs > complete_) return;
            const auto begin = std::move(waiting_.front().begin);
            waiting_.pop_front();
            in_flight_.push_back(begin().release());
        }
    }
    /// Whether collective `number` and all before it are.
    bool has_completed(std::int64_t number) const { return complete_ >= number; }
    std::string describe() const {
        return in_flight_.empty() || !in_flight_.front() ? "nothing in flight" : in_flight_.front()->describe();
    }
    /// Nothing begins any more: the group may go.
    void close() { waiting_.clear(); }

  private:
    struct Collective {
        std::int64_t needs;
        std::function<comms::Work()> begin;
    };

    bool is_complete(const std::shared_ptr<comms::Operation>& operation) const {
        return !operation || progress_.step(*operation);
    }

    comms::Progress& progress_;  // owns the operations that use this
    std::deque<Collective> waiting_;
    std::deque<std::shared_ptr<comms::Operation>> in_flight_;  // null: complete from the start
    std::int64_t added_ = 0, complete_ = 0;
};

class GradientReduction::SectionOperation final : public comms::Operation {
  public:
    SectionOperation(std::shared_ptr<Queue> queue, int section, std::int64_t last)
        : queue_(std::move(queue)), section_(section), last_(last) {}

    bool advance() override {
        queue_->advance();
        return queue_->has_completed(last_);
    }
    std::string describe() const override {
        return fmt::format("reduction of the gradients of section {}: {}", section_, queue_->describe());
    }

  private:
    std::shared_ptr<Queue> queue_;
    int section_;
    std::int64_t last_;  // number of its last collective
};

GradientReduction::GradientReduction(comms::Communicator& group, const FlatLayout& layout, at::Tensor gradients)
    : group_(group),
      layout_(layout),
      gradients_(std::move(gradients)),
      queue_(std::make_shared<Queue>(*group.in_flight())) {}

GradientReduction::~GradientReduction() { queue_->close(); }

comms::Work GradientReduction::begin(int section) {
    const auto buckets = layout_.buckets_of(section);
    if (group_.size() == 1 || buckets.empty()) return {};
    const auto part = [&](const Range& range) { return gradients_.narrow(0, range.begin, range.size()); };
    const auto bucket = [&](std::size_t i) { return part(buckets[i]); };
    const auto piece = [&](std::size_t i) { return part(layout_.piece(buckets[i], group_.rank())); };
    const auto reduce = [&](std::size_t i) {
        return queue_->add(0, [&group = group_, bucket = bucket(i), piece = piece(i)] {
            return comms::reduce_scatter(group, piece, bucket);
        });
    };
    const auto gather = [&](std::size_t i, std::int64_t reduced) {
        return queue_->add(reduced, [&group = group_, bucket = bucket(i), piece = piece(i)] {
            return group.all_gather(bucket, piece);
        });
    };
    // A bucket is gathered behind the reduction of the next one, which moves while the first is being added up.
    std::int64_t reduced = reduce(0);
    for (std::size_t i = 1; i < buckets.size(); ++i) {
        const std::int64_t next = reduce(i);
        gather(i - 1, reduced);
        reduced = next;
    }
    const std::int64_t last = gather(buckets.size() - 1, reduced);
    return group_.in_flight()->begin(std::make_shared<SectionOperation>(queue_, section, last));
}

}  // namespace smp::runtime
