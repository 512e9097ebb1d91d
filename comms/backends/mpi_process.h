// MPI in this process: start and end, errors as sentences, communicators and requests as owned things.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include "comms/collectives/message_collectives.h"

namespace smp::comms {

/// Throws CommunicationError with MPI's own words unless `code` is MPI_SUCCESS. `operation`: "MPI_Isend to rank 1 of
/// 'data'".
void check_mpi(int code, const std::string& operation);

/// MPI between start and end. Shared by everything that needs it; the last one ends it, unless something failed: then
/// peers may be gone, and MPI_Finalize would wait for them.
class MpiProcess {
  public:
    MpiProcess();
    ~MpiProcess();
    MpiProcess(const MpiProcess&) = delete;
    MpiProcess& operator=(const MpiProcess&) = delete;

    /// Throws std::logic_error where MPI has to be called by one thread, and this is another.
    void check_thread() const;
    void note_failure() { failed_ = true; }
    bool failed() const { return failed_; }
    /// A tag for messages of collective `number` and one for messages of users.
    int tag(std::int64_t number) const { return 1 + static_cast<int>(number % largest_tag_); }
    static constexpr int kUserTag = 0;

  private:
    bool started_here_ = false;
    bool failed_ = false;
    bool any_thread_ = false;
    std::thread::id thread_ = std::this_thread::get_id();
    std::int64_t largest_tag_ = 0;
};

/// One MPI communicator, with errors returned instead of fatal.
class MpiCommunicator {
  public:
    /// Collective over `parent`, blocking: call when all are known to be near. Color and key as in MPI_Comm_split.
    MpiCommunicator(std::shared_ptr<MpiProcess> process, MPI_Comm parent, int color, int key);
    ~MpiCommunicator();
    MpiCommunicator(const MpiCommunicator&) = delete;
    MpiCommunicator& operator=(const MpiCommunicator&) = delete;

    MPI_Comm get() const { return comm_; }
    int rank() const { return rank_; }
    int size() const { return size_; }
    int world_rank(int rank) const { return world_ranks_[rank]; }
    MpiProcess& process() const { return *process_; }

  private:
    std::shared_ptr<MpiProcess> process_;
    MPI_Comm comm_ = MPI_COMM_NULL;
    int rank_ = 0, size_ = 0;
    std::vector<int> world_ranks_;
};

/// Messages of any length over one MPI communicator; long ones go in several parts, since MPI counts in int.
class MpiRound final : public MessageRound {
  public:
    MpiRound(std::shared_ptr<MpiCommunicator> communicator, std::string group)
        : communicator_(std::move(communicator)), group_(std::move(group)) {}

    void send(const void* data, std::int64_t bytes, int peer, std::int64_t tag) override;
    void receive(void* data, std::int64_t bytes, int peer, std::int64_t tag) override;
    bool test() override;
    std::vector<int> pending() const override;

    /// As above, with the tag that users' messages have.
    void send_of_user(const void* data, std::int64_t bytes, int peer);
    void receive_of_user(void* data, std::int64_t bytes, int peer);

  private:
    struct Part {
        MPI_Request request;
        int peer;
        int bytes;
        bool receives;
    };
    void start_send(const void* data, std::int64_t bytes, int peer, int tag);
    void start_receive(void* data, std::int64_t bytes, int peer, int tag);
    bool test(Part& part) const;

    std::shared_ptr<MpiCommunicator> communicator_;
    std::string group_;
    std::vector<Part> parts_;  // not yet seen complete
};

/// Has this rank a processor that no other rank of this machine may use? Collective over MPI_COMM_WORLD.
bool has_own_processor();

}  // namespace smp::comms
