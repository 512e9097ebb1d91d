// Groups of ranks over NCCL beside a control plane. What moves between GPUs has a group for each purpose, made from an
// id of its own; all else (configuration, clocks, failures, sums on the host) stays on the world, MPI's or of threads,
// with CPU tensors.
#pragma once

#include <exception>
#include <functional>
#include <memory>

#include "comms/communicator.h"

namespace smp::comms {

/// Which ranks of a group reach each other from its start on. NCCL connects others at their first message, and then
/// both ranks wait for each other; a connection takes memory of the device, of which nobody here knows how much.
enum class NcclLinks {
    every_pair,       // for all that a group can do
    rings,            // for gatherings, and sums that NCCL makes itself (NcclSums)
    first_to_second,  // an edge: rank 0 sends and rank 1 receives
};

/// How floating numbers of 32 and 64 bits are added. Integers are always added by NCCL itself: their sums are the same
/// in any order. Numbers of 16 bits are always added in fp32 in the order of the ranks and rounded once, and maxima
/// always propagate what is no number: NCCL's own do neither.
enum class NcclSums {
    in_rank_order,  // as everywhere else: the same bits on every backend and in every run
    native,         // by NCCL: faster, and the same on all ranks; bits may differ from layout to layout and run to run
};

/// One rank's place at NCCL. Its groups share what is in flight and the first failure, which they hear from the world
/// too; a failure ends all of them. The limit of waits is the world's.
class NcclGroups {
  public:
    /// Local. `world` must outlive the groups. `on_failure` gets the first failure, on the thread that has met it,
    /// ahead of the end of what is in flight, which waits for the device; it must not throw. Of what fails because an
    /// exception passes it hears nothing: whoever catches that knows why. Throws CommunicationError where the library
    /// is another than this program was built for, or there is no such device.
    NcclGroups(Communicator& world, int device, NcclSums sums = NcclSums::in_rank_order,
               std::function<void(const std::exception&)> on_failure = {});

    /// Collective over `members`: the world or a split of it, which the group keeps for splits of its own. Blocks until
    /// all are connected. A group of one makes no call of NCCL. Tensors are CUDA's, on this rank's device: an operation
    /// starts after the work that the current stream holds; once its Work was waited for, the current stream may use
    /// its results.
    std::unique_ptr<Communicator> make(std::unique_ptr<Communicator> members,
                                       NcclLinks links = NcclLinks::every_pair) const;

    /// Ends what this rank's groups have in flight, for good. From any thread: for a rank whose own is held up in a
    /// call and would not hear of the failure that is the reason.
    void give_up() const noexcept;

  private:
    Communicator& world_;
    NcclSums sums_;
    std::shared_ptr<Progress> progress_;
};

}  // namespace smp::comms
