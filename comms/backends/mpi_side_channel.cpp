#include "comms/backends/mpi_side_channel.h"

#include <array>
#include <cstring>
#include <exception>
#include <list>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "comms/progress.h"
#include "comms/this_process.h"

namespace smp::comms {

namespace {

/// Between two looks at MPI that find nothing: a look costs more than all that a short wait does.
constexpr auto kBetweenLooks = std::chrono::milliseconds(5);

struct Seat {
    std::array<char, 128> host{};
    std::int64_t process = 0;
};

std::vector<Seat> seats_of_world(int size) {
    Seat own;
    own.process = ::getpid();
    host_name().copy(own.host.data(), own.host.size() - 1);
    std::vector<Seat> seats(size);
    check_mpi(MPI_Allgather(&own, sizeof own, MPI_BYTE, seats.data(), sizeof own, MPI_BYTE, MPI_COMM_WORLD),
              "MPI_Allgather");
    return seats;
}

class MpiSideChannel final : public SideChannel {
  public:
    explicit MpiSideChannel(const std::shared_ptr<MpiProcess>& process)
        : communicator_(process, MPI_COMM_WORLD, 0, 0), seats_(seats_of_world(communicator_.size())) {
        listen();
    }
    ~MpiSideChannel() override {
        if (communicator_.process().failed()) {  // MPI may still write there and read
            static_cast<void>(heard_.release());
            new std::list<Sent>(std::move(sent_));
            return;
        }
        if (hears_ == MPI_REQUEST_NULL) return;
        MPI_Cancel(&hears_);  // in a destructor a failure has nobody to go to
        MPI_Wait(&hears_, MPI_STATUS_IGNORE);
    }

    int rank() const override { return communicator_.rank(); }
    int size() const override { return communicator_.size(); }
    std::string seat(int rank) const override {
        return fmt::format("on {}, process {}", seats_[rank].host.data(), seats_[rank].process);
    }

    void send(int to, const std::string& text) noexcept override {
        try {
            std::erase_if(sent_, [](Sent& sent) {
                int done = 0;
                return MPI_Test(&sent.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
            });
            sent_.push_back({text.substr(0, kMostBytes), MPI_REQUEST_NULL});
            Sent& sent = sent_.back();
            if (MPI_Isend(sent.text.data(), static_cast<int>(sent.text.size()), MPI_BYTE, to, 0, communicator_.get(),
                          &sent.request) != MPI_SUCCESS)
                sent_.pop_back();
        } catch (const std::exception&) {  // lost
        }
    }
    std::optional<Note> receive() noexcept override {
        look();
        return std::exchange(heard_note_, std::nullopt);
    }
    bool has_news() noexcept override {
        if (!heard_note_ && Clock::now() - looked_ >= kBetweenLooks) look();
        return heard_note_.has_value();
    }

  private:
    struct Sent {
        std::string text;
        MPI_Request request;
    };

    /// Takes a note that has come, unless one is there to be fetched.
    void look() noexcept {
        if (heard_note_ || hears_ == MPI_REQUEST_NULL) return;
        int done = 0, bytes = 0;
        MPI_Status status;
        looked_ = Clock::now();
        const int code = MPI_Test(&hears_, &done, &status);
        if (code == MPI_SUCCESS && done == 0) return;
        try {
            if (code == MPI_SUCCESS && MPI_Get_count(&status, MPI_BYTE, &bytes) == MPI_SUCCESS)
                heard_note_ = Note{status.MPI_SOURCE, std::string(heard_->data(), static_cast<std::size_t>(bytes))};
            listen();
        } catch (const std::exception&) {  // deaf from now on
            hears_ = MPI_REQUEST_NULL;
        }
    }
    void listen() {
        check_mpi(MPI_Irecv(heard_->data(), static_cast<int>(heard_->size()), MPI_BYTE, MPI_ANY_SOURCE, 0,
                            communicator_.get(), &hears_),
                  "MPI_Irecv");
    }

    MpiCommunicator communicator_;
    std::vector<Seat> seats_;
    std::unique_ptr<std::array<char, kMostBytes>> heard_ = std::make_unique<std::array<char, kMostBytes>>();
    MPI_Request hears_ = MPI_REQUEST_NULL;
    std::optional<Note> heard_note_;
    std::list<Sent> sent_;  // not yet seen complete
    Clock::time_point looked_;
};

}  // namespace

std::unique_ptr<SideChannel> mpi_side_channel(const std::shared_ptr<MpiProcess>& process) {
    return std::make_unique<MpiSideChannel>(process);
}

}  // namespace smp::comms
