#include "runtime/update/shard_exchange.h"

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
class ShardExchange::Queue {
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

class ShardExchange::SectionOperation final : public comms::Operation {
  public:
    SectionOperation(std::shared_ptr<Queue> queue, std::string what, std::int64_t last)
        : queue_(std::move(queue)), what_(std::move(what)), last_(last) {}

    bool advance() override {
        queue_->advance();
        return queue_->has_completed(last_);
    }
    std::string describe() const override { return fmt::format("{}: {}", what_, queue_->describe()); }

  private:
    std::shared_ptr<Queue> queue_;
    std::string what_;
    std::int64_t last_;  // number of its last collective
};

ShardExchange::ShardExchange(comms::Communicator& group, const FlatLayout& layout)
    : group_(group), layout_(layout), queue_(std::make_shared<Queue>(*group.in_flight())) {}

ShardExchange::~ShardExchange() { queue_->close(); }

comms::Work ShardExchange::reduce_scatter(const at::Tensor& flat, int section) {
    std::int64_t last = 0;
    for (const Range& bucket : layout_.buckets_of(section)) last = add_reduction(flat, bucket);
    return until(last, "reduction", section);
}

comms::Work ShardExchange::gather(const at::Tensor& flat, int section) {
    std::int64_t last = 0;
    for (const Range& bucket : layout_.buckets_of(section)) last = add_gather(flat, bucket, 0);
    return until(last, "gathering", section);
}

comms::Work ShardExchange::all_reduce(const at::Tensor& flat, int section) {
    // A bucket is gathered behind the reduction of the next one, which moves while the first is being added up.
    std::int64_t last = 0, reduced = 0;
    const Range* previous = nullptr;
    for (const Range& bucket : layout_.buckets_of(section)) {
        const std::int64_t next = add_reduction(flat, bucket);
        if (previous != nullptr) add_gather(flat, *previous, reduced);
        previous = &bucket;
        reduced = next;
    }
    if (previous != nullptr) last = add_gather(flat, *previous, reduced);
    return until(last, "reduction", section);
}

std::int64_t ShardExchange::add_reduction(const at::Tensor& flat, const Range& bucket) {
    if (group_.size() == 1) return 0;
    const Range piece = layout_.piece(bucket, group_.rank());
    return queue_->add(
        0, [&group = group_, all = flat.narrow(0, bucket.begin, bucket.size()),
            own = flat.narrow(0, piece.begin, piece.size())] { return comms::reduce_scatter(group, own, all); });
}

std::int64_t ShardExchange::add_gather(const at::Tensor& flat, const Range& bucket, std::int64_t reduced) {
    if (group_.size() == 1) return 0;
    const Range piece = layout_.piece(bucket, group_.rank());
    return queue_->add(reduced,
                       [&group = group_, all = flat.narrow(0, bucket.begin, bucket.size()),
                        own = flat.narrow(0, piece.begin, piece.size())] { return group.all_gather(all, own); });
}

comms::Work ShardExchange::until(std::int64_t last, const char* what, int section) {
    if (last == 0) return {};
    return group_.in_flight()->begin(
        std::make_shared<SectionOperation>(queue_, fmt::format("{} of section {}", what, section), last));
}

}  // namespace smp::runtime
