// NCCL's calls that move data, and its groups.
#include <algorithm>

#include "tests/standin/errors.h"
#include "tests/standin/nccl_communicator.h"

namespace smp::standin {

namespace {

/// What one rank starts at once on one communicator: a kernel.
struct Launch {
    ncclComm* comm;
    Stream* stream;
    std::vector<Call> calls;
    std::vector<std::int64_t> numbers;
    std::int64_t number = 0;  // of the communicator's kernels
};

/// What a thread has said since ncclGroupStart.
struct OpenGroup {
    int depth = 0;
    ncclResult_t code = ncclSuccess;  // the first that was wrong: then nothing starts
    std::vector<Launch> launches;
    std::vector<ncclComm_t> aborts;
};
OpenGroup& open_group() {
    static thread_local OpenGroup group;
    return group;
}

void run(const Launch& launch) {
    ncclComm& comm = *launch.comm;
    Group& group = *comm.group;
    std::unique_lock lock(group.mutex);
    const auto wait = [&](const auto& condition) { return wait_for(comm, lock, condition, Crossing::Who::stream); };
    bool goes_on = wait([&] { return comm.ended == launch.number; });
    std::vector<std::shared_ptr<Meeting>> meetings;
    for (std::size_t i = 0; i < launch.calls.size() && goes_on; ++i)
        meetings.push_back(group.come(comm.rank, launch.calls[i], launch.numbers[i]));
    for (std::size_t i = 0; i < meetings.size(); ++i) {
        if (goes_on && !meetings[i]->is_over) {
            comm.waits_for = launch.calls[i].describe();
            goes_on = wait([&] { return meetings[i]->is_over; });
            comm.waits_for.clear();
        }
        group.leave(comm.rank, launch.calls[i], *meetings[i]);
    }
    if (!group.trouble().empty() && comm.last_error.empty()) {
        comm.last_error = group.trouble();
        comm.told_error = ncclInvalidUsage;
    }
    ++comm.ended;
    group.changed.tell();
}

void number(Launch& launch) {
    ncclComm& comm = *launch.comm;
    for (const Call& call : launch.calls) {
        auto& next = call.kind == Call::Kind::send      ? comm.sent[call.peer]
                     : call.kind == Call::Kind::receive ? comm.received[call.peer]
                                                        : comm.collectives;
        launch.numbers.push_back(next++);
    }
    const std::lock_guard lock(comm.group->mutex);
    launch.number = comm.issued++;
}

ncclResult_t start(OpenGroup& group) {
    ncclResult_t code = std::exchange(group.code, ncclSuccess);
    const auto launches = std::exchange(group.launches, {});
    const auto aborts = std::exchange(group.aborts, {});
    if (code != ncclSuccess) return code;
    for (Launch launch : launches) {
        number(launch);
        const ncclResult_t result = begin(*launch.comm, [launch] {
            launch.stream->queue->push([launch] { run(launch); });
            return ncclSuccess;
        });
        if (code == ncclSuccess) code = result;
    }
    return aborts.empty() ? code : abort_together(aborts);
}

ncclResult_t add(const char* name, ncclComm_t comm, cudaStream_t handle, const Call& call) {
    OpenGroup& group = open_group();
    const auto fail = [&](ncclResult_t code) {
        if (group.depth > 0 && group.code == ncclSuccess) group.code = code;
        return code;
    };
    if (const ncclResult_t code = usable(name, comm); code != ncclSuccess) return fail(code);
    Stream* const stream = stream_of(handle);
    if (stream == nullptr || stream->device != comm->device)
        return fail(refuse_nccl(std::string(name) + ": the stream is not one of the communicator's device"));
    if (bytes_of(call.type) == 0) return fail(refuse_nccl(std::string(name) + ": that data type is not there"));
    const bool has_peer = call.is_message() || call.kind == Call::Kind::broadcast;
    if (has_peer && (call.peer < 0 || call.peer >= comm->group->size()))
        return fail(refuse_nccl(std::string(name) + ": no such rank", ncclInvalidArgument));
    auto found = std::find_if(group.launches.begin(), group.launches.end(),
                              [&](const Launch& launch) { return launch.comm == comm; });
    if (found == group.launches.end()) {
        group.launches.push_back({.comm = comm, .stream = stream, .calls = {}, .numbers = {}});
        found = group.launches.end() - 1;
    }
    if (found->stream != stream)
        return fail(refuse_nccl(std::string(name) + ": two streams in one group of one communicator are not there"));
    stream->queue->purpose.add_kernels_of(comm->name);
    found->calls.push_back(call);
    return group.depth > 0 ? ncclSuccess : start(group);
}

}  // namespace

bool in_group() { return open_group().depth > 0; }

void abort_at_group_end(ncclComm_t comm) { open_group().aborts.push_back(comm); }

}  // namespace smp::standin

extern "C" {

using namespace smp::standin;

ncclResult_t ncclGroupStart() {
    if (const auto result = planted(__func__, current_device())) return static_cast<ncclResult_t>(*result);
    ++open_group().depth;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
    if (open_group().depth == 0) return refuse_nccl("ncclGroupEnd without ncclGroupStart");
    return --open_group().depth > 0 ? ncclSuccess : start(open_group());
}

ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    return add(__func__, comm, stream,
               {.kind = Call::Kind::send, .in = in, .count = count, .type = type, .peer = peer});
}

ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
    return add(__func__, comm, stream,
               {.kind = Call::Kind::receive, .out = out, .count = count, .type = type, .peer = peer});
}

ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
    return add(__func__, comm, stream,
               {.kind = Call::Kind::all_gather, .in = in, .out = out, .count = count, .type = type});
}

ncclResult_t ncclAlltoAll(const void* in, void* out, size_t count, ncclDataType_t type, ncclComm_t comm,
                          cudaStream_t stream) {
    return add(__func__, comm, stream,
               {.kind = Call::Kind::all_to_all, .in = in, .out = out, .count = count, .type = type});
}

ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
    return add(__func__, comm, stream,
               {.kind = Call::Kind::broadcast, .in = in, .out = out, .count = count, .type = type, .peer = root});
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t reduction,
                           ncclComm_t comm, cudaStream_t stream) {
    return add(
        __func__, comm, stream,
        {.kind = Call::Kind::all_reduce, .in = in, .out = out, .count = count, .type = type, .reduction = reduction});
}

ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t reduction,
                               ncclComm_t comm, cudaStream_t stream) {
    return add(__func__, comm, stream,
               {.kind = Call::Kind::reduce_scatter,
                .in = in,
                .out = out,
                .count = count,
                .type = type,
                .reduction = reduction});
}

}  // extern "C"
