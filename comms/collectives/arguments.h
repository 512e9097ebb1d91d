// Checks of what callers hand to communicators, before anything moves. All throw std::logic_error that names group,
// rank and value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comms/communicator.h"

namespace smp::comms {

void check_message(const Communicator& group, const char* operation, const at::Tensor& tensor, int peer);
void check_all_gather(const Communicator& group, const at::Tensor& output, const at::Tensor& input);
void check_all_to_all(const Communicator& group, const at::Tensor& output, const at::Tensor& input);
void check_broadcast(const Communicator& group, const at::Tensor& tensor, int root);
void check_reduce(const Communicator& group, const ReduceRequest& request);
void check_split(const Communicator& group, int color);

/// " in 'tensor' (I am rank 1)": of the world.
std::string place(const Communicator& group);

/// The ranks that a split of `color` gets, in their order there. `wishes`: [2 · ranks], int64, color and key of each
/// rank, on the CPU.
std::vector<int> members_of_split(const at::Tensor& wishes, std::int64_t color);

/// "rank 1, rank 3", as far as a reader wants it; "nobody".
std::string listed(const std::vector<int>& ranks);

/// The other end of a message, for its description.
struct Route {
    bool sending;
    std::int64_t bytes;
    int peer;  // of the world
    std::string group;

    Route(const Communicator& group, bool sending, const at::Tensor& tensor, int peer);
    /// "receive of 4096 bytes from rank 2 in 'pipeline'".
    std::string describe() const;
};

}  // namespace smp::comms
