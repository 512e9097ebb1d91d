#include "comms/backends/mpi_process.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <sched.h>
#include <stdexcept>

#include <fmt/format.h>

namespace smp::comms {

namespace {

constexpr std::int64_t kLargestPart = std::int64_t{1} << 30;

std::string text_of(int code) {
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) return fmt::format("error {}", code);
    return {text.data(), static_cast<std::size_t>(length)};
}

std::vector<int> world_ranks_of(MPI_Comm comm, int size) {
    MPI_Group group = MPI_GROUP_NULL, world = MPI_GROUP_NULL;
    check_mpi(MPI_Comm_group(comm, &group), "MPI_Comm_group");
    check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
    std::vector<int> ranks(size), world_ranks(size);
    std::iota(ranks.begin(), ranks.end(), 0);
    check_mpi(MPI_Group_translate_ranks(group, size, ranks.data(), world, world_ranks.data()),
              "MPI_Group_translate_ranks");
    check_mpi(MPI_Group_free(&group), "MPI_Group_free");
    check_mpi(MPI_Group_free(&world), "MPI_Group_free");
    return world_ranks;
}

}  // namespace

void check_mpi(int code, const std::string& operation) {
    if (code != MPI_SUCCESS) throw CommunicationError(fmt::format("{} failed: {}", operation, text_of(code)));
}

MpiProcess::MpiProcess() {
    int finalized = 0, initialized = 0;
    check_mpi(MPI_Finalized(&finalized), "MPI_Finalized");
    if (finalized != 0)
        throw CommunicationError("MPI was used and finalised in this process; it can be started only once");
    check_mpi(MPI_Initialized(&initialized), "MPI_Initialized");
    int threads = MPI_THREAD_SINGLE;
    if (initialized == 0) {
        check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &threads), "MPI_Init_thread");
        started_here_ = true;
    } else {
        check_mpi(MPI_Query_thread(&threads), "MPI_Query_thread");
    }
    any_thread_ = threads >= MPI_THREAD_SERIALIZED;  // callers take turns
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    int* upper_bound = nullptr;
    int found = 0;
    check_mpi(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &upper_bound, &found), "MPI_Comm_get_attr");
    const std::int64_t largest = found != 0 ? *upper_bound : 32767;  // the least that the standard allows
    largest_tag_ = largest / kTagsEach * kTagsEach - kTagsEach;      // whole collectives, and one for users
}

MpiProcess::~MpiProcess() {
    if (started_here_ && !failed_) MPI_Finalize();  // nobody is left to tell
}

void MpiProcess::check_thread() const {
    if (any_thread_ || std::this_thread::get_id() == thread_) return;
    throw std::logic_error(
        "this MPI allows calls only by the thread that started it (MPI_THREAD_FUNNELED); another one called, use an "
        "MPI with MPI_THREAD_MULTIPLE");
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<MpiProcess> process, MPI_Comm parent, int color, int key)
    : process_(std::move(process)) {
    check_mpi(MPI_Comm_split(parent, color, key, &comm_), "MPI_Comm_split");
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    world_ranks_ = world_ranks_of(comm_, size_);
}

MpiCommunicator::~MpiCommunicator() {
    if (!process_->failed()) MPI_Comm_free(&comm_);  // in a destructor a failure has nobody to go to
}

void MpiRound::send(const void* data, std::int64_t bytes, int peer, std::int64_t tag) {
    start_send(data, bytes, peer, communicator_->process().tag(tag));
}

void MpiRound::receive(void* data, std::int64_t bytes, int peer, std::int64_t tag) {
    start_receive(data, bytes, peer, communicator_->process().tag(tag));
}

void MpiRound::send_of_user(const void* data, std::int64_t bytes, int peer) {
    start_send(data, bytes, peer, MpiProcess::kUserTag);
}

void MpiRound::receive_of_user(void* data, std::int64_t bytes, int peer) {
    start_receive(data, bytes, peer, MpiProcess::kUserTag);
}

void MpiRound::start_send(const void* data, std::int64_t bytes, int peer, int tag) {
    std::int64_t begin = 0;
    do {  // an empty message is a message
        const int part = static_cast<int>(std::min(bytes - begin, kLargestPart));
        MPI_Request request = MPI_REQUEST_NULL;
        const int code = MPI_Isend(static_cast<const std::byte*>(data) + begin, part, MPI_BYTE, peer, tag,
                                   communicator_->get(), &request);
        check_mpi(code, fmt::format("MPI_Isend of {} bytes to rank {} in '{}'", part, communicator_->world_rank(peer),
                                    group_));
        parts_.push_back({request, peer, part, false});
        begin += part;
    } while (begin < bytes);
}

void MpiRound::start_receive(void* data, std::int64_t bytes, int peer, int tag) {
    std::int64_t begin = 0;
    do {
        const int part = static_cast<int>(std::min(bytes - begin, kLargestPart));
        MPI_Request request = MPI_REQUEST_NULL;
        const int code =
            MPI_Irecv(static_cast<std::byte*>(data) + begin, part, MPI_BYTE, peer, tag, communicator_->get(), &request);
        check_mpi(code, fmt::format("MPI_Irecv of {} bytes from rank {} in '{}'", part, communicator_->world_rank(peer),
                                    group_));
        parts_.push_back({request, peer, part, true});
        begin += part;
    } while (begin < bytes);
}

bool MpiRound::test(Part& part) const {
    int done = 0;
    MPI_Status status;
    const int code = MPI_Test(&part.request, &done, &status);
    if (code != MPI_SUCCESS) {
        const char* end = part.receives ? "receive" : "send";
        int kind = MPI_SUCCESS;
        MPI_Error_class(code, &kind);
        const char* remark = kind == MPI_ERR_TRUNCATE ? " (more bytes were sent than are to be received)" : "";
        check_mpi(code, fmt::format("the {} of {} bytes, rank {} in '{}'{},", end, part.bytes,
                                    communicator_->world_rank(part.peer), group_, remark));
    }
    if (done == 0) return false;
    if (!part.receives) return true;
    int received = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &received), "MPI_Get_count");
    if (received != part.bytes)
        throw CommunicationError(fmt::format("receive from rank {} in '{}': {} bytes were sent, {} are to be received",
                                             communicator_->world_rank(part.peer), group_, received, part.bytes));
    return true;
}

bool MpiRound::test() {
    while (!parts_.empty()) {
        if (!test(parts_.back())) return false;
        parts_.pop_back();
    }
    return true;
}

std::vector<int> MpiRound::pending() const {
    std::vector<int> peers;
    for (const Part& part : parts_) peers.push_back(communicator_->world_rank(part.peer));
    std::sort(peers.begin(), peers.end());
    peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
    return peers;
}

bool has_own_processor() {
    MPI_Comm machine = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine),
              "MPI_Comm_split_type");
    check_mpi(MPI_Comm_set_errhandler(machine, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    int ranks = 0;
    check_mpi(MPI_Comm_size(machine, &ranks), "MPI_Comm_size");
    cpu_set_t own;
    CPU_ZERO(&own);
    const bool known = ::sched_getaffinity(0, sizeof own, &own) == 0;
    std::vector<cpu_set_t> all(ranks);
    check_mpi(MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, machine), "MPI_Allgather");
    check_mpi(MPI_Comm_free(&machine), "MPI_Comm_free");
    int sharing = 0;
    for (const cpu_set_t& other : all) {
        cpu_set_t common;
        CPU_AND(&common, &own, &other);
        sharing += CPU_COUNT(&common) > 0 ? 1 : 0;
    }
    return known && sharing <= CPU_COUNT(&own);
}

}  // namespace smp::comms
