// A group of ranks that counts what its collectives exchange.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "comms/communicator.h"
#include "partition/job/module_graph.h"

namespace smp::testing {

/// Passes everything on to `group`, which must outlive it.
class CountedGroup final : public comms::Communicator {
  public:
    explicit CountedGroup(comms::Communicator& group) : group_(group) {}

    /// What has been exchanged since the last call.
    partition::Exchange take() { return std::exchange(exchanged_, {}); }

    int rank() const override { return group_.rank(); }
    int size() const override { return group_.size(); }
    const std::string& name() const override { return group_.name(); }
    int world_rank(int rank) const override { return group_.world_rank(rank); }
    bool reduces_in_place() const override { return group_.reduces_in_place(); }
    std::unique_ptr<comms::Communicator> split(int color, int key, const std::string& name) override {
        return group_.split(color, key, name);
    }
    comms::Work send(const at::Tensor& tensor, int peer) override { return group_.send(tensor, peer); }
    comms::Work receive(at::Tensor tensor, int peer) override { return group_.receive(std::move(tensor), peer); }
    comms::Work all_gather(at::Tensor output, const at::Tensor& input) override {
        exchanged_ += partition::one_round(static_cast<std::int64_t>(output.nbytes()), size());
        return group_.all_gather(std::move(output), input);
    }
    comms::Work all_to_all(at::Tensor output, const at::Tensor& input) override {
        exchanged_ += partition::one_round(static_cast<std::int64_t>(input.nbytes()), size());
        return group_.all_to_all(std::move(output), input);
    }
    comms::Work broadcast(at::Tensor tensor, int root) override { return group_.broadcast(std::move(tensor), root); }
    comms::Work reduce(const comms::ReduceRequest& request) override {
        const auto bytes = static_cast<std::int64_t>(request.input.nbytes());
        const bool everywhere = request.result == comms::ReduceRequest::Result::everywhere;
        exchanged_ += everywhere ? partition::two_rounds(bytes, size()) : partition::one_round(bytes, size());
        return group_.reduce(request);
    }
    void barrier() override { group_.barrier(); }
    void progress() override { group_.progress(); }
    void abort(const std::string& reason, int exit_code) noexcept override { group_.abort(reason, exit_code); }
    const std::shared_ptr<comms::Progress>& in_flight() const override { return group_.in_flight(); }

  private:
    comms::Communicator& group_;
    partition::Exchange exchanged_;
};

}  // namespace smp::testing
