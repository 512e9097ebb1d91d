// What the ranks of one process share: bells to wake each other, letters between two of them, meetings of all of a
// group.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comms/collectives/rank_order_sum.h"
#include "comms/progress.h"
#include "comms/side_channel.h"

namespace smp::comms {

/// Wakes one rank. A rank reads the count, looks at what it waits for and, if that has not come, sleeps while the count
/// stays.
class Bell {
  public:
    std::uint64_t rings() const { return rings_.load(); }
    void ring();
    /// Sleeps until the count differs from `seen`, or `until`. Looks around for `patience` before.
    void wait(std::uint64_t seen, Clock::duration patience, Clock::time_point until);

  private:
    std::atomic<std::uint64_t> rings_{0};
    std::atomic<bool> asleep_{false};
    std::mutex mutex_;
    std::condition_variable woken_;
};

/// One side of a message. Whoever comes second, sender or receiver, copies straight from tensor to tensor.
struct Letter {
    at::Tensor tensor;
    int owner;  // in the world
    std::string trouble;
    std::atomic<bool> delivered{false};  // or in trouble
};

/// One collective of a group. Every rank brings its tensors; once all are there the job is cut into parts, which the
/// ranks take one by one as they come by: nobody waits for a rank that is computing, and a rank that comes late finds
/// help.
class Meeting {
  public:
    enum class Kind { barrier, all_gather, all_to_all, broadcast, all_reduce, reduce_scatter };
    /// What all ranks must agree on.
    struct Call {
        Kind kind = Kind::barrier;
        c10::ScalarType dtype = c10::ScalarType::Byte;
        std::int64_t numel = 0;  // of the input
        int root = 0;
        Reduction reduction = Reduction::sum;
        bool operator==(const Call&) const = default;
    };

    Meeting(int ranks, const Call& call);

    const Call& call() const { return call_; }
    /// Not concurrently. True for the last to come.
    bool join(int rank, at::Tensor output, at::Tensor input);
    bool everybody_is_here() const { return here_.load(std::memory_order_acquire); }
    /// Does what is left to be taken; true if that was the last part.
    bool work();
    bool complete() const { return complete_.load(std::memory_order_acquire); }
    /// Those of the group that have not come.
    std::vector<int> absent() const;

  private:
    void cut();
    void finish();
    void perform(std::int64_t part);
    /// Elements `from` of all inputs into elements `to` of rank `only`'s output, or of all outputs if that is negative.
    void combine_on_device(int only, Piece from, Piece to) const;
    void copy(int to, std::int64_t to_begin, int from, std::int64_t from_begin, std::int64_t chunk) const;

    Call call_;
    std::vector<at::Tensor> outputs_, inputs_;  // by rank
    std::vector<bool> came_;
    int missing_;
    std::int64_t piece_ = 0;   // elements of what is copied or combined as one run
    std::int64_t chunk_ = 0;   // elements of it in one part
    std::int64_t chunks_ = 0;  // parts of one run
    std::int64_t parts_ = 0;
    std::atomic<bool> here_{false};
    std::atomic<std::int64_t> next_{0};
    std::atomic<std::int64_t> done_{0};
    std::atomic<bool> complete_{false};
};

/// Shared by all ranks of a local world.
struct Exchange {
    struct Box {  // of notes to one rank
        std::mutex mutex;
        std::deque<SideChannel::Note> notes;
        std::atomic<bool> has_notes{false};
    };

    explicit Exchange(int ranks);

    void ring(int world_rank) { bells[world_rank]->ring(); }
    void fail(int world_rank, const std::string& reason);

    std::mutex mutex;  // of what groups hold, and of the reason
    std::vector<std::unique_ptr<Bell>> bells;
    std::vector<std::unique_ptr<Box>> boxes;
    std::atomic<int> failed_rank{-1};
    std::string reason;
    Clock::duration patience;  // of a waiting rank before it sleeps
};

/// Shared by the ranks of one group.
struct LocalGroup {
    struct Channel {
        std::deque<std::shared_ptr<Letter>> sent, awaited;  // one of them is empty
    };

    LocalGroup(std::shared_ptr<Exchange> exchange, std::vector<int> world_ranks);
    int size() const { return static_cast<int>(world_ranks.size()); }
    Channel& channel(int from, int to) { return channels[from * size() + to]; }
    void ring_all() const;

    std::shared_ptr<Exchange> exchange;
    std::vector<int> world_ranks;
    std::vector<Channel> channels;
    std::map<std::int64_t, std::shared_ptr<Meeting>> meetings;  // that some rank has still to come to
    struct Split {
        std::shared_ptr<LocalGroup> group;
        int missing;
    };
    std::map<std::pair<std::int64_t, int>, Split>
        splits;  // by the parent's meeting and color, until all members have fetched theirs
};

/// Copies equal numbers of bytes between contiguous tensors of any devices; the caller's stream has finished when it
/// returns.
void copy_now(const at::Tensor& to, const at::Tensor& from);
/// Waits for what the caller's current stream has been given; nothing for the CPU.
void finish_stream(const at::Tensor& tensor);

}  // namespace smp::comms
