// NCCL's calls that make and end communicators.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/standin/errors.h"
#include "tests/standin/nccl_communicator.h"

namespace smp::standin {

namespace {

struct Registry {
    std::mutex mutex;
    std::map<std::string, std::shared_ptr<Group>> worlds;  // by unique id
    std::vector<ncclComm*> all;
    int ids = 0;
};
Registry& registry() {
    static auto* const only = new Registry;
    return *only;
}

ncclComm* new_communicator(int device, const ncclConfig_t* config) {
    auto* const made = new ncclComm;
    made->device = device;
    made->blocking = config == nullptr || config->blocking != 0;
    if (config != nullptr && config->commName != nullptr) made->name = config->commName;
    const std::lock_guard lock(registry().mutex);
    registry().all.push_back(made);
    return made;
}

std::vector<ncclComm*> communicators() {
    const std::lock_guard lock(registry().mutex);
    return registry().all;
}

std::string& last_sentence() {
    static thread_local std::string sentence;
    return sentence;
}

ncclResult_t join(ncclComm& comm) {
    Group& group = *comm.group;
    std::unique_lock lock(group.mutex);
    for (const int device : group.devices_of_those_here)
        if (device == comm.device)
            return refuse_nccl("two ranks of '" + comm.name + "' on device " + std::to_string(device));
    group.devices_of_those_here.push_back(comm.device);
    group.changed.tell();
    const bool all_are_here =
        wait_for(comm, lock, [&] { return static_cast<int>(group.devices_of_those_here.size()) == group.size(); });
    return all_are_here ? ncclSuccess : ncclInternalError;
}

/// The part of `parent` that its rank is in, once all have said what they want; null after an abort.
std::shared_ptr<Group> part_of(ncclComm& parent, std::int64_t split, int color, int key, int& rank) {
    Group& group = *parent.group;
    std::unique_lock lock(group.mutex);
    auto& wishes = group.wishes[split];
    wishes[parent.rank] = {color, key};
    group.changed.tell();
    if (!wait_for(parent, lock, [&] { return static_cast<int>(wishes.size()) == group.size(); })) return nullptr;
    int size = 0;
    rank = 0;
    for (const auto& [other, wish] : wishes) {
        if (wish.first != color) continue;
        ++size;
        if (std::pair(wish.second, other) < std::pair(key, parent.rank)) ++rank;
    }
    auto& part = group.parts[{split, color}];
    if (!part) part = std::make_shared<Group>(size);
    return part;
}

}  // namespace

ncclResult_t refuse_nccl(const std::string& sentence, ncclResult_t code) {
    std::fprintf(stderr, "[CUDA stand-in] NCCL: %s\n", sentence.c_str());
    last_sentence() = "the NCCL of the CUDA stand-in: " + sentence;
    return code;
}

int refuse_nccl_call(const char* name) { return refuse_nccl(std::string("there is no ") + name); }

ncclResult_t usable(const char* call, ncclComm_t comm) {
    if (comm == nullptr) return refuse_nccl(std::string(call) + " without a communicator", ncclInvalidArgument);
    if (const auto result = planted(call, comm->device, comm->name)) return static_cast<ncclResult_t>(*result);
    if (comm->is_over)
        return refuse_nccl(std::string(call) + " on '" + comm->name + "', which was ended", ncclInvalidArgument);
    if (comm->state == ncclInProgress)
        return refuse_nccl(std::string(call) + " on '" + comm->name + "' before its last call was done",
                           ncclInvalidArgument);
    return ncclSuccess;
}

ncclResult_t begin(ncclComm& comm, std::function<ncclResult_t()> job) {
    comm.state = ncclInProgress;
    comm.jobs->push([&comm, job = std::move(job)] { comm.state = job(); });
    if (!comm.blocking) return ncclInProgress;
    comm.jobs->wait();
    return static_cast<ncclResult_t>(comm.state.load());
}

ncclResult_t abort_together(const std::vector<ncclComm_t>& comms) {
    for (ncclComm* const comm : comms) {
        if (comm->is_over.exchange(true))
            return refuse_nccl("ncclCommAbort of '" + comm->name + "', which was ended", ncclInvalidArgument);
        const std::lock_guard lock(comm->group->mutex);
        comm->aborted = true;
        comm->group->changed.tell();
    }
    // NCCL frees memory of the device, and that waits for all that the device holds.
    for (ncclComm* const comm : comms) {
        comm->jobs->wait();
        comm->jobs->close();
        if (wait_for_device(comm->device, patience())) continue;
        std::fprintf(stderr,
                     "[CUDA stand-in] NCCL: ncclCommAbort of '%s' on device %d waits for a kernel of another "
                     "communicator; abort them in one group\n",
                     comm->name.c_str(), comm->device);
        std::abort();
    }
    return ncclSuccess;
}

void fail_communicators(int device, int result) {
    for (ncclComm* const comm : communicators())
        if (comm->device == device && !comm->is_over) comm->told_error = result;
}

void waiting_kernels(void (*take)(void* context, const char* line), void* context) {
    for (const ncclComm* const comm : communicators()) {
        std::shared_ptr<Group> group;
        {
            const std::lock_guard lock(registry().mutex);
            group = comm->group;
        }
        if (group == nullptr) continue;
        const std::lock_guard lock(group->mutex);
        if (comm->waits_for.empty()) continue;
        const std::string line =
            "device " + std::to_string(comm->device) + ": " + comm->waits_for + " in '" + comm->name + "'";
        take(context, line.c_str());
    }
}

}  // namespace smp::standin

extern "C" {

using namespace smp::standin;

ncclResult_t ncclGetVersion(int* version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t code) {
    switch (code) {
        case ncclSuccess: return "no error";
        case ncclUnhandledCudaError: return "unhandled cuda error";
        case ncclSystemError: return "unhandled system error";
        case ncclInternalError: return "internal error";
        case ncclInvalidArgument: return "invalid argument";
        case ncclInvalidUsage: return "invalid usage";
        case ncclRemoteError: return "remote process exited or there was a network error";
        case ncclInProgress: return "NCCL operation in progress";
        default: return "unknown result code";
    }
}

const char* ncclGetLastError(ncclComm_t comm) {
    if (comm == nullptr || comm->group == nullptr) return last_sentence().c_str();
    const std::lock_guard lock(comm->group->mutex);
    return comm->last_error.empty() ? last_sentence().c_str() : comm->last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    if (const auto result = planted(__func__, current_device())) return static_cast<ncclResult_t>(*result);
    std::memset(id, 0, sizeof *id);
    const std::lock_guard lock(registry().mutex);
    std::snprintf(id->internal, sizeof id->internal, "group %d of the stand-in", ++registry().ids);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
    if (const auto result = planted(__func__, current_device())) return static_cast<ncclResult_t>(*result);
    if (rank < 0 || rank >= size) return refuse_nccl("ncclCommInitRankConfig: no such rank", ncclInvalidArgument);
    ncclComm& made = *new_communicator(current_device(), config);
    made.rank = rank;
    {
        const std::lock_guard lock(registry().mutex);
        auto& world = registry().worlds[id.internal];
        if (!world) world = std::make_shared<Group>(size);
        made.group = world;
    }
    *out = &made;
    return begin(made, [&made] { return join(made); });
}

ncclResult_t ncclCommSplit(ncclComm_t parent, int color, int key, ncclComm_t* out, ncclConfig_t* config) {
    __atomic_store_n(out, nullptr, __ATOMIC_RELEASE);
    if (const ncclResult_t code = usable(__func__, parent); code != ncclSuccess) return code;
    ncclComm* const made = color == NCCL_SPLIT_NOCOLOR ? nullptr : new_communicator(parent->device, config);
    const std::int64_t split = parent->splits++;
    return begin(*parent, [=] {
        int rank = -1;
        auto part = part_of(*parent, split, color, key, rank);
        if (part == nullptr) return ncclInternalError;
        if (made != nullptr) {
            const std::lock_guard lock(registry().mutex);
            made->group = std::move(part);
            made->rank = rank;
        }
        __atomic_store_n(out, made, __ATOMIC_RELEASE);  // behind the call, as NCCL does
        return ncclSuccess;
    });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
    if (comm == nullptr || comm->is_over)
        return refuse_nccl("ncclCommGetAsyncError on a communicator that was ended", ncclInvalidArgument);
    const int told = comm->told_error;
    *error = static_cast<ncclResult_t>(told != ncclSuccess ? told : comm->state.load());
    if (*error == ncclInProgress) begins_to_ask();  // it waits for NCCL's own threads
    return ncclSuccess;
}

ncclResult_t ncclCommCount(ncclComm_t comm, int* size) {
    *size = comm->group->size();
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(ncclComm_t comm, int* rank) {
    *rank = comm->rank;
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    if (const ncclResult_t code = usable(__func__, comm); code != ncclSuccess) return code;
    return begin(*comm, [comm] {
        Group& group = *comm->group;
        std::unique_lock lock(group.mutex);
        comm->finalized = true;
        if (!wait_for(*comm, lock, [&] { return comm->ended == comm->issued; })) return ncclInternalError;
        ++group.finalizing;
        group.changed.tell();
        return wait_for(*comm, lock, [&] { return group.finalizing == group.size(); }) ? ncclSuccess
                                                                                       : ncclInternalError;
    });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    if (const ncclResult_t code = usable(__func__, comm); code != ncclSuccess) return code;
    if (!comm->finalized)
        return refuse_nccl("ncclCommDestroy of '" + comm->name + "' without ncclCommFinalize waits in secret");
    comm->is_over = true;
    comm->jobs->close();
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    if (comm == nullptr) return ncclInvalidArgument;
    if (const auto result = planted(__func__, comm->device, comm->name)) return static_cast<ncclResult_t>(*result);
    if (!in_group()) return abort_together({comm});
    abort_at_group_end(comm);
    return ncclSuccess;
}

}  // extern "C"
