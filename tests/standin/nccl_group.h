// What the ranks of one NCCL communicator share: where their operations meet. A send and a receive are a meeting of
// two, a collective is one of all; nothing of it ends before all are there (rendezvous), the last to come does the
// work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <nccl.h>

#include "tests/standin/streams.h"

namespace smp::standin {

/// One operation as a rank gave it to NCCL.
struct Call {
    enum class Kind { send, receive, all_gather, all_to_all, broadcast, all_reduce, reduce_scatter };
    Kind kind;
    const void* in = nullptr;
    void* out = nullptr;
    std::size_t count = 0;  // of elements, as NCCL counts for this kind
    ncclDataType_t type = ncclUint8;
    ncclRedOp_t reduction = ncclSum;
    int peer = -1;  // the root of a broadcast

    bool is_message() const { return kind == Kind::send || kind == Kind::receive; }
    /// "send of 8 bytes to rank 1".
    std::string describe() const;
};

/// 0 for types that are not there.
std::size_t bytes_of(ncclDataType_t type);

struct Meeting {
    std::vector<std::optional<Call>> calls;  // a message's: the sender's, the receiver's; a collective's: by rank
    std::size_t here = 0;
    bool is_over = false;
};

/// Everything is done under `mutex`; who waits for any of it waits at `changed`.
class Group {
  public:
    explicit Group(int size) : size_(size) {}

    std::mutex mutex;
    Crossing changed;

    int size() const { return size_; }
    /// Rank `rank` comes with its `number`-th call of this kind (of messages: with this peer, in this direction).
    std::shared_ptr<Meeting> come(int rank, const Call& call, std::int64_t number);
    /// Goes without: its memory is not to be used any more.
    void leave(int rank, const Call& call, Meeting& meeting);
    /// On what ranks did not agree; from then on no kernel of theirs waits any more.
    const std::string& trouble() const { return trouble_; }

    std::vector<int> devices_of_those_here;                                // at the start
    int finalizing = 0;                                                    // ranks that end
    std::map<std::int64_t, std::map<int, std::pair<int, int>>> wishes;     // by split and rank: color and key
    std::map<std::pair<std::int64_t, int>, std::shared_ptr<Group>> parts;  // by split and color

  private:
    std::size_t place_of(int rank, const Call& call) const;
    void perform(const Meeting& meeting);
    void perform_collective(const std::vector<std::optional<Call>>& calls);

    int size_;
    std::map<std::tuple<int, int, std::int64_t>, std::shared_ptr<Meeting>> meetings_;  // sender, receiver, number
    std::string trouble_;
};

}  // namespace smp::standin
