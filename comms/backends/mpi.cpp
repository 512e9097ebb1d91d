// Ranks as processes of an MPI job, over CPU tensors. Everything is made of non-blocking messages that are tested: MPI
// moves nothing while nobody is inside it, so whoever computes calls progress() between operators.
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "comms/backends/mpi_process.h"
#include "comms/backends/mpi_side_channel.h"
#include "comms/backends/start_watch.h"
#include "comms/collectives/arguments.h"

namespace smp::comms {

namespace {

class MpiProgress final : public PollingProgress {
  public:
    MpiProgress(std::shared_ptr<MpiProcess> process, WaitLimit limit, bool own_processor)
        : PollingProgress(std::move(limit), std::make_shared<Inquiry>(mpi_side_channel(process)), own_processor),
          process_(std::move(process)) {}
    ~MpiProgress() override {
        if (idle() && !failed()) return;
        process_->note_failure();
        leave_in_flight();  // MPI may still write into their memory
    }

  private:
    std::shared_ptr<MpiProcess> process_;
};

class MessageOperation final : public Operation {
  public:
    MessageOperation(std::unique_ptr<MpiRound> round, Route route, at::Tensor tensor)
        : round_(std::move(round)), route_(std::move(route)), tensor_(std::move(tensor)) {}
    bool advance() override { return round_->test(); }
    std::string describe() const override { return route_.describe(); }
    std::vector<int> awaited() const override { return {route_.peer}; }

  private:
    std::unique_ptr<MpiRound> round_;
    Route route_;
    at::Tensor tensor_;
};

class MpiBackend final : public Communicator {
  public:
    MpiBackend(std::shared_ptr<MpiProcess> process, std::shared_ptr<MpiCommunicator> communicator, std::string name,
               std::shared_ptr<Progress> progress)
        : process_(std::move(process)),
          communicator_(std::move(communicator)),
          name_(std::move(name)),
          progress_(std::move(progress)) {}

    int rank() const override { return communicator_->rank(); }
    int size() const override { return communicator_->size(); }
    const std::string& name() const override { return name_; }
    bool reduces_in_place() const override { return false; }
    int world_rank(int rank) const override { return communicator_->world_rank(rank); }
    void progress() override { progress_->step_all(); }
    const std::shared_ptr<Progress>& in_flight() const override { return progress_; }

    std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
        check_split(*this, color);
        barrier();  // has a deadline, which MPI_Comm_split has not
        auto part = std::make_shared<MpiCommunicator>(process_, communicator_->get(), color, key);
        return std::make_unique<MpiBackend>(process_, std::move(part), name, progress_);
    }

    Work send(const at::Tensor& tensor, int peer) override {
        check_message(*this, "send", tensor, peer);
        enter("send", tensor);
        auto round = new_round();
        round->send_of_user(tensor.const_data_ptr(), static_cast<std::int64_t>(tensor.nbytes()), peer);
        return begin(std::make_shared<MessageOperation>(std::move(round), Route(*this, true, tensor, peer), tensor));
    }
    Work receive(at::Tensor tensor, int peer) override {
        check_message(*this, "receive", tensor, peer);
        enter("receive", tensor);
        auto round = new_round();
        round->receive_of_user(tensor.data_ptr(), static_cast<std::int64_t>(tensor.nbytes()), peer);
        return begin(std::make_shared<MessageOperation>(std::move(round), Route(*this, false, tensor, peer), tensor));
    }

    Work all_gather(at::Tensor output, const at::Tensor& input) override {
        check_all_gather(*this, output, input);
        enter("all_gather", input);
        if (size() == 1) return copied(output, input);
        return begin(all_gather_by_messages(next(), output, input));
    }
    Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        check_all_to_all(*this, output, input);
        enter("all_to_all", input);
        if (size() == 1) return copied(output, input);
        return begin(all_to_all_by_messages(next(), output, input));
    }
    Work broadcast(at::Tensor tensor, int root) override {
        check_broadcast(*this, tensor, root);
        enter("broadcast", tensor);
        if (size() == 1) return {};
        return begin(broadcast_by_messages(next(), tensor, root));
    }
    Work reduce(const ReduceRequest& request) override {
        enter("reduce", request.input);
        return begin(reduce_by_messages(next(), request));
    }
    void barrier() override {
        progress_->require_usable();
        process_->check_thread();
        if (size() > 1) begin(barrier_by_messages(next())).wait();
    }

    void abort(const std::string& reason, int exit_code) noexcept override {
        process_->note_failure();
        progress_->fail(CommunicationError(reason));
        std::fflush(stdout);
        std::fflush(stderr);
        MPI_Abort(MPI_COMM_WORLD, exit_code);
    }

  private:
    std::unique_ptr<MpiRound> new_round() const { return std::make_unique<MpiRound>(communicator_, name_); }
    MessageGroup next() { return {*this, collectives_++, new_round()}; }
    Work begin(std::shared_ptr<Operation> operation) { return progress_->begin(std::move(operation)); }

    void enter(const char* operation, const at::Tensor& tensor) const {
        progress_->require_usable();
        process_->check_thread();
        if (!tensor.is_cpu())
            throw std::logic_error(
                fmt::format("{}{}: the tensor is on {}; MPI moves CPU tensors here, NCCL those of GPUs", operation,
                            place(*this), tensor.device().str()));
    }
    static Work copied(const at::Tensor& output, const at::Tensor& input) {
        if (input.nbytes() > 0 && output.const_data_ptr() != input.const_data_ptr())
            std::memcpy(output.data_ptr(), input.const_data_ptr(), input.nbytes());
        return {};
    }

    std::shared_ptr<MpiProcess> process_;
    std::shared_ptr<MpiCommunicator> communicator_;
    std::string name_;
    std::shared_ptr<Progress> progress_;
    std::int64_t collectives_ = 0;  // begun on this group
};

}  // namespace

std::unique_ptr<Communicator> mpi_world(const CommunicatorOptions& options) {
    const StartWatch watch(options.limit, options.on_late_start);  // until all of this is done
    auto process = std::make_shared<MpiProcess>();
    auto everybody = std::make_shared<MpiCommunicator>(process, MPI_COMM_WORLD, 0, 0);
    auto progress = std::make_shared<MpiProgress>(process, options.limit, has_own_processor());
    return std::make_unique<MpiBackend>(process, std::move(everybody), "world", std::move(progress));
}

}  // namespace smp::comms
