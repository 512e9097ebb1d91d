// One suite over all backends: a test's body runs on every rank of a world of some backend.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "comms/communicator.h"

namespace smp::comms {

struct World {
    enum class Backend { local, local_cuda, mpi, nccl };
    Backend backend;
    int ranks;
};
std::string name_of(const World& world);
inline void PrintTo(const World& world, std::ostream* stream) { *stream << name_of(world); }

/// The world of this process under mpirun, made by main; null otherwise.
std::unique_ptr<Communicator>& mpi_world_of_process();

/// One thread a rank. Every exception that is not caught by `body` fails the test; if it is the first, it ends the
/// other ranks' waits.
void on_local_ranks(int ranks, const std::function<void(Communicator&)>& body, const CommunicatorOptions& options = {});

class EveryBackend : public testing::TestWithParam<World> {
  protected:
    /// Skips where this process has not what the backend needs.
    void SetUp() override;
    /// Runs `body` on every rank that takes part; under mpirun the other processes wait.
    void on_ranks(const std::function<void(Communicator&)>& body) const;
    /// Of the rank that asks.
    at::Device device() const;
    // On that device. Made on the CPU: a stand-in for CUDA has no operators.
    at::Tensor random(std::int64_t numel, at::ScalarType dtype, std::int64_t seed) const;
    at::Tensor unset(std::int64_t numel, at::ScalarType dtype) const;
    at::Tensor full(std::int64_t numel, double value, at::ScalarType dtype) const;
    /// Null where a group carries messages both ways at once; over NCCL, a group for those to lower ranks.
    std::unique_ptr<Communicator> downwards(Communicator& group) const;
};

/// Keyed by `seed`: every rank can make every rank's. Floating numbers of very different sizes, so that the order of
/// additions shows.
at::Tensor random_tensor(std::int64_t numel, at::ScalarType dtype, std::int64_t seed);
/// The same bytes?
testing::AssertionResult same_bits(const at::Tensor& actual, const at::Tensor& expected);
// What collectives should give, computed on the CPU.
at::Tensor joined(const std::vector<at::Tensor>& pieces);
/// Element by element from rank 0 upwards; 16-bit numbers in fp32, rounded at the end.
at::Tensor sum_of(const std::vector<at::Tensor>& terms);
at::Tensor max_of(const std::vector<at::Tensor>& terms);

const std::vector<at::ScalarType>& dtypes_that_move();
const std::vector<at::ScalarType>& dtypes_that_add();

/// All ranks of a control plane over NCCL, on this GPU. Collective.
std::unique_ptr<Communicator> over_nccl(Communicator& control, int device);

}  // namespace smp::comms
