// Collectives made of messages, for transports between processes: who sends what to whom, with which tags, and what is
// done with it.
//
// Messages of the collectives of a group carry their number (the same on all ranks, since all call the same ones in the
// same order), so operations in flight together never take each other's messages, in whatever order their later rounds
// begin.
//
//   operation        rounds  messages a rank sends       bytes a rank sends (S: tensor, n: ranks)
//   barrier          log2 n  log2 n                      0
//   all_gather       1       n − 1                       (n − 1)·S
//   all_to_all       1       n − 1                       (n − 1)·S/n
//   broadcast        1 each  at most log2 n              a binomial tree below the root
//   reduce_scatter   1       n − 1                       (n − 1)·S/n, then a local sum
//   all_reduce       2       2·(n − 1)                   2·(n − 1)·S/n: pieces, a local sum, the sums
//     short, or n=2  1       n − 1                       (n − 1)·S: everything to everybody, then everybody adds
//     everything
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comms/progress.h"

namespace smp::comms {

/// Messages under way for one operation: started together, then tested until all are complete.
class MessageRound {
  public:
    virtual ~MessageRound() = default;
    virtual void send(const void* data, std::int64_t bytes, int peer, std::int64_t tag) = 0;
    virtual void receive(void* data, std::int64_t bytes, int peer, std::int64_t tag) = 0;
    /// True once all are complete; throws CommunicationError.
    virtual bool test() = 0;
    /// Peers of messages that are not, as ranks of the world.
    virtual std::vector<int> pending() const = 0;
};

/// What a collective needs to know of its group.
struct MessageGroup {
    const Communicator& group;
    std::int64_t number;  // of this collective, from 0
    std::unique_ptr<MessageRound> round;
};

// Arguments are checked; CPU tensors; at least two ranks.
std::shared_ptr<Operation> barrier_by_messages(MessageGroup messages);
std::shared_ptr<Operation> all_gather_by_messages(MessageGroup messages, const at::Tensor& output,
                                                  const at::Tensor& input);
std::shared_ptr<Operation> all_to_all_by_messages(MessageGroup messages, const at::Tensor& output,
                                                  const at::Tensor& input);
std::shared_ptr<Operation> broadcast_by_messages(MessageGroup messages, const at::Tensor& tensor, int root);
std::shared_ptr<Operation> reduce_by_messages(MessageGroup messages, const ReduceRequest& request);

/// Tags that a collective uses: number·kTagsEach and the next ones.
inline constexpr std::int64_t kTagsEach = 2;

}  // namespace smp::comms
