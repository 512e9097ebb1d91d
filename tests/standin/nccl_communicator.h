// One rank's NCCL communicator. Its operations run one after another in the order of their issue, whatever streams they
// are on, as NCCL's do: what must progress together is in one group, or on different communicators.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nccl.h>

#include "tests/standin/nccl_group.h"
#include "tests/standin/streams.h"

/// Never destroyed, so that a use after its end is an error with a sentence.
struct ncclComm {
    std::shared_ptr<smp::standin::Group> group;
    int rank = -1, device = 0;
    bool blocking = false;
    std::string name;
    std::atomic<int> state{ncclSuccess};       // of the last call: ncclInProgress until its job is done
    std::atomic<int> told_error{ncclSuccess};  // planted, or found by a kernel
    std::atomic<bool> is_over{false};          // destroyed or aborted
    // What non-blocking calls do behind their return.
    std::shared_ptr<smp::standin::TaskQueue> jobs =
        std::make_shared<smp::standin::TaskQueue>(smp::standin::TaskQueue::Of::nccl);
    std::int64_t splits = 0, collectives = 0;
    std::map<int, std::int64_t> sent, received;  // by peer

    // Under the group's mutex:
    bool aborted = false, finalized = false;
    std::int64_t issued = 0, ended = 0;  // kernels
    std::string waits_for;               // of the kernel that waits
    std::string last_error;              // set once
};

namespace smp::standin {

/// Says what is wrong on stderr and in ncclGetLastError of this thread.
ncclResult_t refuse_nccl(const std::string& sentence, ncclResult_t code = ncclInvalidUsage);

/// The same of a whole function, for refused.cpp.
int refuse_nccl_call(const char* name);

/// ncclSuccess where a call may be made on it now.
ncclResult_t usable(const char* call, ncclComm_t comm);

/// What a call began: its state becomes what `job` returns. Blocks where the communicator does.
ncclResult_t begin(ncclComm& comm, std::function<ncclResult_t()> job);

/// Waits until `condition`, or until the rank has aborted or its group is in trouble; whether it came true.
/// `lock` is the group's.
template <typename Condition>
bool wait_for(ncclComm& comm, std::unique_lock<std::mutex>& lock, Condition condition,
              Crossing::Who who = Crossing::Who::host) {
    Group& group = *comm.group;
    group.changed.wait(who, lock, [&] { return comm.aborted || !group.trouble().empty() || condition(); });
    return !comm.aborted && group.trouble().empty();
}

/// Ends the kernels of these and of no other, then waits until their devices are idle: for ever where a kernel of a
/// communicator that is not among them waits for a peer. Then the process ends, with a sentence.
ncclResult_t abort_together(const std::vector<ncclComm_t>& comms);

/// Between ncclGroupStart and ncclGroupEnd.
bool in_group();
void abort_at_group_end(ncclComm_t comm);

}  // namespace smp::standin
