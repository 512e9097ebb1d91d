// Ranks over GPUs by NCCL. Each communicator has a stream of its own: an operation starts there after what the current
// stream holds at the call, and its Work is complete once the stream has passed it.
//
// What NCCL asks of callers (the plan keeps it): operations of one communicator run one after another on a rank, in the
// order of their issue, and a send ends with its receive only; so they are issued in an order in which no rank waits
// for what another has behind. Messages that cross, each rank receiving before it sends, need a communicator for each
// direction. One thread issues the operations of all communicators of a GPU.
#include "comms/backends/nccl.h"

#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

#include "comms/backends/nccl_communicator.h"
#include "comms/collectives/arguments.h"
#include "comms/collectives/device_sum.h"
#include "comms/collectives/reduction_pieces.h"
#include "comms/device/stream_operation.h"

namespace smp::comms {

namespace {

// Up to here all pairs of a group that may need it are connected at the start; NCCL would do it at their first message,
// and then a call blocks until the peer makes its own. Larger groups exchange pieces of everything rarely, and
// connections cost memory.
constexpr int kConnectedAtStart = 64;
// Below, one round of everything to everybody is faster than two rounds of pieces.
constexpr std::int64_t kShortBytes = 256 << 10;

class NcclBackend final : public Communicator {
  public:
    NcclBackend(std::unique_ptr<Communicator> control, std::shared_ptr<NcclProgress> progress, Communicator& world,
                NcclLinks links, NcclSums sums)
        : control_(std::move(control)), progress_(std::move(progress)), world_(world), sums_(sums) {
        if (size() == 1) return;
        std::vector<int> world_ranks;
        for (int rank_here = 0; rank_here < size(); ++rank_here) world_ranks.push_back(world_rank(rank_here));
        communicator_ = std::make_unique<NcclCommunicator>(
            NcclCommunicator::Seat{.rank = rank(), .size = size(), .name = name(), .world_ranks = world_ranks},
            common_id(), progress_);
        connect(links);
    }

    int rank() const override { return control_->rank(); }
    int size() const override { return control_->size(); }
    const std::string& name() const override { return control_->name(); }
    bool reduces_in_place() const override { return false; }
    int world_rank(int rank) const override { return control_->world_rank(rank); }
    void progress() override { progress_->step_all(); }
    const std::shared_ptr<Progress>& in_flight() const override { return progress_as_base_; }

    std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
        check_split(*this, color);
        progress_->require_usable();
        return std::make_unique<NcclBackend>(control_->split(color, key, name), progress_, world_,
                                             NcclLinks::every_pair, sums_);
    }

    Work send(const at::Tensor& tensor, int peer) override {
        check_message(*this, "send", tensor, peer);
        const NcclMessage message = sent(tensor, peer);
        return enqueue(Route(*this, true, tensor, peer).describe(), {world_rank(peer)}, {tensor},
                       [&] { communicator_->exchange("ncclSend", std::span(&message, 1)); });
    }
    Work receive(at::Tensor tensor, int peer) override {
        check_message(*this, "receive", tensor, peer);
        const NcclMessage message = received(tensor, peer);
        return enqueue(Route(*this, false, tensor, peer).describe(), {world_rank(peer)}, {tensor},
                       [&] { communicator_->exchange("ncclRecv", std::span(&message, 1)); });
    }

    Work all_gather(at::Tensor output, const at::Tensor& input) override {
        check_all_gather(*this, output, input);
        if (size() == 1) return copied(output, input);
        return enqueue(named("all_gather", input), communicator_->others(), {output, input},
                       [&] { gather(output.data_ptr(), input.const_data_ptr(), input.nbytes()); });
    }
    Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        check_all_to_all(*this, output, input);
        if (size() == 1) return copied(output, input);
        std::vector<NcclMessage> messages;
        for (int peer = 0; peer < size(); ++peer) {
            messages.push_back(sent(part_of(input, peer), peer));
            messages.push_back(received(part_of(output, peer), peer));
        }
        return enqueue(named("all_to_all", input), communicator_->others(), {output, input},
                       [&] { communicator_->exchange("ncclSend and ncclRecv", messages); });
    }
    Work broadcast(at::Tensor tensor, int root) override {
        check_broadcast(*this, tensor, root);
        if (size() == 1) return {};
        return enqueue(named("broadcast", tensor), communicator_->others(), {tensor}, [&] {
            communicator_->issue("ncclBroadcast", [&] {
                return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root,
                                     communicator_->get(), communicator_->stream().get());
            });
        });
    }
    Work reduce(const ReduceRequest& request) override;

    void barrier() override {
        progress_->require_usable();
        if (size() == 1) return;
        const at::Tensor token = at::empty({1 + size()}, at::TensorOptions(at::kByte).device(device()));
        enqueue(fmt::format("barrier{}", place(*this)), communicator_->others(), {token}, [&] {
            gather(token.data_ptr<std::uint8_t>() + 1, token.const_data_ptr(), 1);
        }).wait();
    }

    /// From any thread: this rank's own thread gives NCCL up when it sees the failure.
    void abort(const std::string& reason, int exit_code) noexcept override { world_.abort(reason, exit_code); }
    bool has_failed() const noexcept override { return world_.has_failed(); }

  private:
    at::Device device() const { return {at::kCUDA, static_cast<c10::DeviceIndex>(progress_->device())}; }
    /// Collective.
    ncclUniqueId common_id() const {
        ncclUniqueId id{};
        if (rank() == 0) check_nccl(ncclGetUniqueId(&id), fmt::format("ncclGetUniqueId for '{}'", name()));
        const at::Tensor bytes = at::empty({static_cast<std::int64_t>(sizeof id)}, at::kByte);
        std::memcpy(bytes.data_ptr(), &id, sizeof id);
        control_->broadcast(bytes, 0).wait();
        std::memcpy(&id, bytes.const_data_ptr(), sizeof id);
        return id;
    }
    std::string named(const char* operation, const at::Tensor& input) const {
        return fmt::format("{} of {} bytes{}", operation, input.nbytes(), place(*this));
    }
    at::Tensor part_of(const at::Tensor& tensor, int peer) const {
        const std::int64_t piece = tensor.numel() / size();
        return view_of(tensor, {peer * piece, (peer + 1) * piece});
    }
    static NcclMessage sent(const at::Tensor& tensor, int peer) {
        return {.sending = true, .data = tensor.data_ptr(), .bytes = tensor.nbytes(), .peer = peer};
    }
    static NcclMessage received(const at::Tensor& tensor, int peer) {
        return {.sending = false, .data = tensor.data_ptr(), .bytes = tensor.nbytes(), .peer = peer};
    }
    void gather(void* output, const void* input, std::size_t bytes) {
        communicator_->issue("ncclAllGather", [&] {
            return ncclAllGather(input, output, bytes, ncclUint8, communicator_->get(), communicator_->stream().get());
        });
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
        EventPool& events = progress_->event_pool();
        communicator_->stream().wait(events.record(events.current_stream()));
    }
    /// What `issue` queues on the communicator's stream, as an operation. Half of it is as bad as a failure.
    template <typename Issue>
    Work enqueue(std::string description, std::vector<int> awaited, std::vector<at::Tensor> tensors, Issue issue) {
        progress_->require_usable();
        require_here(tensors);
        const c10::cuda::CUDAGuard guard(device());
        std::shared_ptr<Operation> started;
        try {
            follow_current_stream();
            issue();
            started =
                std::make_shared<StreamOperation>(StreamOperation::Facts{.description = std::move(description),
                                                                         .awaited = std::move(awaited),
                                                                         .tensors = std::move(tensors),
                                                                         .in_flight = communicator_->in_flight()},
                                                  *progress_, progress_->event_pool(), communicator_->stream().get());
        } catch (const CommunicationError& error) {
            progress_->fail(error);
            throw;
        } catch (const std::exception& error) {
            progress_->fail(CommunicationError(error.what()));
            throw;
        }
        return progress_->begin(std::move(started));
    }
    Work add_natively(const ReduceRequest& request, std::string description, ncclDataType_t type);
    void connect(NcclLinks links) {
        const at::Tensor words = at::zeros({2, size()}, at::kLong).to(device());
        const at::Tensor input = words[0], output = words[1];
        switch (links) {
            case NcclLinks::first_to_second: {
                const at::Tensor token = input.narrow(0, 0, 1);
                if (rank() < 2) (rank() == 0 ? send(token, 1) : receive(token, 0)).wait();
                return;
            }
            case NcclLinks::rings:  // of a kind that NCCL has not made before it connects what that takes
                all_reduce(*this, input).wait();
                reduce_scatter(*this, output.narrow(0, 0, 1), input).wait();
                all_gather(output, input.narrow(0, 0, 1)).wait();
                return;
            case NcclLinks::every_pair:
                if (size() > kConnectedAtStart) return;
                all_to_all(output, input).wait();
                barrier();
        }
    }

    std::unique_ptr<Communicator> control_;
    std::shared_ptr<NcclProgress> progress_;
    std::shared_ptr<Progress> progress_as_base_ = progress_;
    Communicator& world_;
    NcclSums sums_;
    std::unique_ptr<NcclCommunicator> communicator_;  // null in a group of one
};

/// What NCCL adds as we do: integers, whose sum no order changes, and more where the order may be any.
std::optional<ncclDataType_t> native_sum(const ReduceRequest& request, NcclSums sums) {
    if (request.reduction != Reduction::sum) return std::nullopt;
    const at::ScalarType type = request.input.scalar_type();
    if (type == at::kInt) return ncclInt32;
    if (type == at::kLong) return ncclInt64;
    if (sums == NcclSums::in_rank_order) return std::nullopt;
    if (type == at::kFloat) return ncclFloat32;
    if (type == at::kDouble) return ncclFloat64;
    return std::nullopt;
}

Work NcclBackend::add_natively(const ReduceRequest& request, std::string description, ncclDataType_t type) {
    const at::Tensor &input = request.input, &output = request.output;
    const ncclComm_t comm = communicator_->get();
    const cudaStream_t stream = communicator_->stream().get();
    return enqueue(std::move(description), communicator_->others(), {input, output}, [&] {
        if (request.result == ReduceRequest::Result::everywhere)
            communicator_->issue("ncclAllReduce", [&] {
                return ncclAllReduce(input.const_data_ptr(), output.mutable_data_ptr(), input.numel(), type, ncclSum,
                                     comm, stream);
            });
        else
            communicator_->issue("ncclReduceScatter", [&] {
                return ncclReduceScatter(input.const_data_ptr(), output.mutable_data_ptr(), output.numel(), type,
                                         ncclSum, comm, stream);
            });
    });
}

Work NcclBackend::reduce(const ReduceRequest& request) {
    progress_->require_usable();
    require_here({request.output, request.input});
    const bool everywhere = request.result == ReduceRequest::Result::everywhere;
    std::string description = named(everywhere ? "all_reduce" : "reduce_scatter", request.input);
    if (const auto type = native_sum(request, sums_)) return add_natively(request, std::move(description), *type);
    // The scratch memory is the current stream's, ahead of which the communicator's does not run; what holds it until
    // then is the operation.
    const ReductionPieces made = pieces_of_reduction(request, size(), rank(), kShortBytes);
    std::vector<NcclMessage> of_terms, of_sums;
    for (int peer = 0; peer < size(); ++peer) {
        if (peer == rank()) continue;
        const at::Tensor theirs = view_of(request.input, made.pieces[peer]);
        of_terms.push_back(sent(theirs, peer));
        of_terms.push_back(received(made.terms[peer], peer));
        of_sums.push_back(sent(made.own, peer));
        of_sums.push_back(received(theirs, peer));
    }
    std::vector<at::Tensor> tensors = made.terms;
    tensors.push_back(request.input);
    tensors.push_back(request.output);
    return enqueue(std::move(description), communicator_->others(), std::move(tensors), [&] {
        const c10::cuda::CUDAStreamGuard on_stream(communicator_->stream().for_torch());
        communicator_->exchange("exchange of a reduction's pieces", of_terms);
        combine_in_rank_order(request.reduction, made.terms, std::span(&made.own, 1));
        if (everywhere && !made.all_at_once) communicator_->exchange("exchange of a reduction's sums", of_sums);
    });
}

}  // namespace

NcclGroups::NcclGroups(Communicator& world, int device, NcclSums sums,
                       std::function<void(const std::exception&)> on_failure)
    : world_(world), sums_(sums) {
    check_nccl_version();
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess || device < 0 || device >= devices)
        throw CommunicationError(
            fmt::format("NCCL is to use GPU {}, but CUDA sees {} here ({}); check nvidia-smi and CUDA_VISIBLE_DEVICES, "
                        "or use cluster.device \"cpu\"",
                        device, code == cudaSuccess ? devices : 0, cudaGetErrorString(code)));
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    load_device_sums();
    progress_ = std::make_shared<NcclProgress>(world.in_flight(), device, std::move(on_failure));
}

std::unique_ptr<Communicator> NcclGroups::make(std::unique_ptr<Communicator> members, NcclLinks links) const {
    progress_->require_usable();
    return std::make_unique<NcclBackend>(std::move(members), std::static_pointer_cast<NcclProgress>(progress_), world_,
                                         links, sums_);
}

void NcclGroups::give_up() const noexcept { std::static_pointer_cast<NcclProgress>(progress_)->give_up(); }

}  // namespace smp::comms
