// Ranks over GPUs by NCCL. Each communicator has a stream of its own: an operation starts there after what the current
// stream holds at the call, and its Work is complete once the stream has passed it.
//
// What NCCL asks of callers (the plan keeps it): operations of a pair are issued in the same order on both sides; a
// send is a rendezvous; one thread issues the operations of all communicators of a GPU, in an order that is the same on
// all ranks. Operations of one communicator run one after another, so traffic that must not wait for other traffic has
// a communicator of its own.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

#include "comms/backends/nccl_library.h"
#include "comms/collectives/arguments.h"
#include "comms/collectives/rank_order_sum.h"

namespace smp::comms {

namespace {

// Up to here all pairs of a group are connected at the start; NCCL would do it at their first message, and then a call
// blocks until the peer makes its own. Larger groups exchange pieces of everything rarely, and connections cost memory.
constexpr int kConnectedAtStart = 64;
// Below, one round of everything to everybody is faster than two rounds of pieces.
constexpr std::int64_t kShortBytes = 256 << 10;

/// Looks at NCCL's asynchronous errors and at the failures that the bootstrap knows of; gives up all communicators at
/// the first.
class NcclProgress final : public PollingProgress {
  public:
    NcclProgress(std::shared_ptr<Progress> bootstrap, WaitLimit limit)
        : PollingProgress(std::move(limit), bootstrap->inquiry(), /*own_processor=*/true),
          bootstrap_(std::move(bootstrap)) {}
    ~NcclProgress() override { leave_in_flight(); }

    void watch(const std::shared_ptr<NcclCommunicator>& communicator) { communicators_.push_back(communicator); }

  protected:
    void look_for_failure() override {
        std::erase_if(communicators_, [](const auto& communicator) { return communicator.expired(); });
        try {
            bootstrap_->require_usable();
            for (const auto& watched : communicators_)
                if (const auto communicator = watched.lock()) communicator->check_asynchronous_errors();
        } catch (const CommunicationError& error) {
            fail(error);
        }
    }
    void on_failure() noexcept override {
        for (const auto& watched : communicators_)
            if (const auto communicator = watched.lock()) communicator->give_up();
    }

  private:
    std::shared_ptr<Progress> bootstrap_;
    std::vector<std::weak_ptr<NcclCommunicator>> communicators_;
};

class StreamOperation final : public Operation {
  public:
    StreamOperation(std::string description, std::vector<int> awaited, std::vector<at::Tensor> tensors,
                    cudaStream_t stream)
        : description_(std::move(description)), awaited_(std::move(awaited)), tensors_(std::move(tensors)) {
        done_.record(stream);
    }
    bool advance() override { return done_.reached(); }
    std::string describe() const override { return description_; }
    /// All that may be: NCCL does not say which.
    std::vector<int> awaited() const override { return awaited_; }

  private:
    std::string description_;
    std::vector<int> awaited_;
    std::vector<at::Tensor> tensors_;  // held until then, so that their memory is not given to others
    CudaEvent done_;
};

class NcclBackend final : public Communicator {
  public:
    NcclBackend(std::shared_ptr<NcclCommunicator> communicator, std::shared_ptr<NcclProgress> progress,
                Communicator& bootstrap)
        : communicator_(std::move(communicator)),
          nccl_progress_(progress),
          progress_(std::move(progress)),
          bootstrap_(bootstrap) {
        nccl_progress_->watch(communicator_);
        connect();
    }

    int rank() const override { return communicator_->seat().rank; }
    int size() const override { return communicator_->seat().size; }
    const std::string& name() const override { return communicator_->seat().name; }
    bool reduces_in_place() const override { return true; }  // in buffers that NCCL has anyway
    int world_rank(int rank) const override { return communicator_->seat().world_ranks[rank]; }
    void progress() override { progress_->step_all(); }
    const std::shared_ptr<Progress>& in_flight() const override { return progress_; }

    std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
        check_split(*this, color);
        // Who will be in it; behind that the communicator is idle, as NCCL wants it for a split.
        const at::Tensor own = at::empty({2}, at::kLong), all = at::empty({2 * size()}, own.options().device(device()));
        own.data_ptr<std::int64_t>()[0] = color;
        own.data_ptr<std::int64_t>()[1] = key;
        all_gather(all, own.to(device())).wait();
        NcclCommunicator::Seat seat = communicator_->seat();
        const std::vector<int> members = members_of_split(all.cpu(), color);
        seat.name = name;
        seat.rank = static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
        seat.size = static_cast<int>(members.size());
        seat.world_ranks.clear();
        for (const int member : members) seat.world_ranks.push_back(world_rank(member));
        seat.limit = progress_->limit();
        auto part = std::make_shared<NcclCommunicator>(seat, *communicator_, color, key);
        return std::make_unique<NcclBackend>(std::move(part), nccl_progress_, bootstrap_);
    }

    Work send(const at::Tensor& tensor, int peer) override {
        check_message(*this, "send", tensor, peer);
        return enqueue("ncclSend", Route(*this, true, tensor, peer).describe(), {world_rank(peer)}, {tensor},
                       [&] { send_part(tensor, peer); });
    }
    Work receive(at::Tensor tensor, int peer) override {
        check_message(*this, "receive", tensor, peer);
        return enqueue("ncclRecv", Route(*this, false, tensor, peer).describe(), {world_rank(peer)}, {tensor},
                       [&] { receive_part(tensor, peer); });
    }

    Work all_gather(at::Tensor output, const at::Tensor& input) override {
        check_all_gather(*this, output, input);
        if (size() == 1) return copied(output, input);
        return enqueue("ncclAllGather", named("all_gather", input), others(), {output, input}, [&] {
            check_nccl(ncclAllGather(input.const_data_ptr(), output.data_ptr(), input.nbytes(), ncclUint8,
                                     communicator_->get(), stream()),
                       "ncclAllGather", communicator_->get());
        });
    }
    Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        check_all_to_all(*this, output, input);
        if (size() == 1) return copied(output, input);
        return enqueue("ncclSend and ncclRecv", named("all_to_all", input), others(), {output, input}, [&] {
            for (int peer = 0; peer < size(); ++peer) {
                send_part(part_of(input, peer), peer);
                receive_part(part_of(output, peer), peer);
            }
        });
    }
    Work broadcast(at::Tensor tensor, int root) override {
        check_broadcast(*this, tensor, root);
        if (size() == 1) return {};
        return enqueue("ncclBroadcast", named("broadcast", tensor), others(), {tensor}, [&] {
            check_nccl(ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root,
                                     communicator_->get(), stream()),
                       "ncclBroadcast", communicator_->get());
        });
    }
    Work reduce(const ReduceRequest& request) override;

    void barrier() override {
        progress_->require_usable();
        if (size() == 1) return;
        const at::Tensor token = at::empty({1 + size()}, at::TensorOptions(at::kByte).device(device()));
        enqueue("ncclAllGather", fmt::format("barrier{}", place(*this)), others(), {token}, [&] {
            check_nccl(ncclAllGather(token.const_data_ptr(), token.data_ptr<std::uint8_t>() + 1, 1, ncclUint8,
                                     communicator_->get(), stream()),
                       "ncclAllGather", communicator_->get());
        }).wait();
    }

    /// From any thread: this rank's own thread gives NCCL up when it sees the failure.
    void abort(const std::string& reason, int exit_code) noexcept override { bootstrap_.abort(reason, exit_code); }

  private:
    cudaStream_t stream() const { return communicator_->stream().get(); }
    at::Device device() const { return {at::kCUDA, static_cast<c10::DeviceIndex>(communicator_->seat().device)}; }
    std::string named(const char* operation, const at::Tensor& input) const {
        return fmt::format("{} of {} bytes{}", operation, input.nbytes(), place(*this));
    }
    std::vector<int> others() const {
        std::vector<int> ranks = communicator_->seat().world_ranks;
        std::erase(ranks, world_rank(rank()));
        return ranks;
    }
    at::Tensor part_of(const at::Tensor& tensor, int peer) const {
        const std::int64_t piece = tensor.numel() / size();
        return view_of(tensor, {peer * piece, (peer + 1) * piece});
    }
    void send_part(const at::Tensor& tensor, int peer) {
        if (tensor.nbytes() == 0) return;
        check_nccl(ncclSend(tensor.const_data_ptr(), tensor.nbytes(), ncclUint8, peer, communicator_->get(), stream()),
                   "ncclSend", communicator_->get());
    }
    void receive_part(const at::Tensor& tensor, int peer) {
        if (tensor.nbytes() == 0) return;
        check_nccl(ncclRecv(tensor.data_ptr(), tensor.nbytes(), ncclUint8, peer, communicator_->get(), stream()),
                   "ncclRecv", communicator_->get());
    }
    static Work copied(const at::Tensor& output, const at::Tensor& input) {
        if (output.const_data_ptr() != input.const_data_ptr()) output.view({-1}).copy_(input.view({-1}));
        return {};
    }

    void require_here(const std::vector<at::Tensor>& tensors) const {
        for (const at::Tensor& tensor : tensors)
            if (tensor.device() != device())
                throw std::logic_error(fmt::format("communication{}: the tensor is on {}, this communicator is on {}",
                                                   place(*this), tensor.device().str(), device().str()));
    }
    /// The communicator's stream goes on once the current stream has done what it holds now.
    void follow_current_stream() {
        CudaEvent ready;  // may go before it is reached
        ready.record(c10::cuda::getCurrentCUDAStream(device().index()).stream());
        check_cuda(cudaStreamWaitEvent(stream(), ready.get(), 0), "cudaStreamWaitEvent");
    }
    template <typename Run>
    void guarded(Run run) {
        try {
            run();
        } catch (const CommunicationError& error) {
            progress_->fail(error);
            throw;
        }
    }
    template <typename Issue>
    Work enqueue(const char* operation, std::string description, std::vector<int> awaited,
                 std::vector<at::Tensor> tensors, Issue issue) {
        progress_->require_usable();
        require_here(tensors);
        const c10::cuda::CUDAGuard guard(device());
        std::shared_ptr<Operation> started;
        guarded([&] {
            follow_current_stream();
            communicator_->grouped(operation, issue);
            started = std::make_shared<StreamOperation>(std::move(description), std::move(awaited), std::move(tensors),
                                                        stream());
        });
        return progress_->begin(std::move(started));
    }
    void connect() {
        if (size() == 1 || size() > kConnectedAtStart) return;
        const auto bytes = at::TensorOptions(at::kByte).device(device());
        const at::Tensor input = at::empty({size()}, bytes), output = at::empty({size()}, bytes);
        all_to_all(output, input).wait();
        barrier();
    }

    std::shared_ptr<NcclCommunicator> communicator_;
    std::shared_ptr<NcclProgress> nccl_progress_;
    std::shared_ptr<Progress> progress_;  // the same
    Communicator& bootstrap_;
};

Work NcclBackend::reduce(const ReduceRequest& request) {
    progress_->require_usable();
    require_here({request.output, request.input});
    const int ranks = size();
    const bool everywhere = request.result == ReduceRequest::Result::everywhere;
    const bool all_at_once =
        everywhere && (ranks == 2 || static_cast<std::int64_t>(request.input.nbytes()) * (ranks - 1) <= kShortBytes);
    const at::Tensor &input = request.input, &output = request.output;

    const c10::cuda::CUDAGuard guard(device());
    std::shared_ptr<Operation> started;
    guarded([&] {
        follow_current_stream();
        // Everything below runs on the communicator's stream, so it is in order without waiting here; the scratch
        // memory belongs to it.
        const c10::cuda::CUDAStreamGuard on_stream(communicator_->stream().for_torch());
        std::vector<Piece> pieces;
        for (int peer = 0; peer < ranks; ++peer) {
            if (all_at_once)
                pieces.push_back({0, input.numel()});
            else
                pieces.push_back(everywhere ? piece_of(input.numel(), ranks, peer)
                                            : Piece{peer * output.numel(), (peer + 1) * output.numel()});
        }
        std::vector<at::Tensor> terms;
        for (int peer = 0; peer < ranks; ++peer)
            terms.push_back(peer == rank() ? view_of(input, pieces[peer])
                                           : at::empty({pieces[rank()].numel()}, input.options()));
        communicator_->grouped("exchange of a reduction's pieces", [&] {
            for (int peer = 0; peer < ranks; ++peer) {
                if (peer == rank()) continue;
                send_part(view_of(input, pieces[peer]), peer);
                receive_part(terms[peer], peer);
            }
        });
        const at::Tensor own = everywhere ? terms[rank()] : output.view({-1});
        combine_in_rank_order(request.reduction, terms, std::vector{own});
        if (everywhere && !all_at_once) {
            communicator_->grouped("exchange of a reduction's sums", [&] {
                for (int peer = 0; peer < ranks; ++peer) {
                    if (peer == rank()) continue;
                    send_part(own, peer);
                    receive_part(view_of(input, pieces[peer]), peer);
                }
            });
        }
        terms.push_back(output);
        started = std::make_shared<StreamOperation>(named(everywhere ? "all_reduce" : "reduce_scatter", input),
                                                    others(), std::move(terms), stream());
    });
    return progress_->begin(std::move(started));
}

}  // namespace

std::unique_ptr<Communicator> nccl_world(Communicator& bootstrap, int device, const CommunicatorOptions& options) {
    check_nccl_version();
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess || device < 0 || device >= devices)
        throw CommunicationError(
            fmt::format("NCCL is to use GPU {}, but CUDA sees {} here ({}); check nvidia-smi and CUDA_VISIBLE_DEVICES, "
                        "or use cluster.device \"cpu\"",
                        device, code == cudaSuccess ? devices : 0, cudaGetErrorString(code)));
    // Kernels of several communicators on one GPU then start in the order of their issue; NCCL reads it at its first
    // communicator.
    ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
    ncclUniqueId id{};
    if (bootstrap.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const at::Tensor bytes = at::empty({static_cast<std::int64_t>(sizeof id)}, at::kByte);
    std::memcpy(bytes.data_ptr(), &id, sizeof id);
    bootstrap.broadcast(bytes, 0).wait();
    std::memcpy(&id, bytes.const_data_ptr(), sizeof id);

    std::vector<int> world_ranks;
    for (int rank = 0; rank < bootstrap.size(); ++rank) world_ranks.push_back(bootstrap.world_rank(rank));
    const NcclCommunicator::Seat seat{.device = device,
                                      .rank = bootstrap.rank(),
                                      .size = bootstrap.size(),
                                      .name = bootstrap.name(),
                                      .world_ranks = world_ranks,
                                      .limit = options.limit};
    auto communicator = std::make_shared<NcclCommunicator>(seat, id);
    auto progress = std::make_shared<NcclProgress>(bootstrap.in_flight(), options.limit);
    return std::make_unique<NcclBackend>(std::move(communicator), std::move(progress), bootstrap);
}

}  // namespace smp::comms
