#include "tests/comms/worlds.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>

#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "comms/backends/nccl.h"

namespace smp::comms {

std::string name_of(const World& world) {
    switch (world.backend) {
        case World::Backend::local: return "local_" + std::to_string(world.ranks);
        case World::Backend::local_cuda: return "cuda_threads_" + std::to_string(world.ranks);
        case World::Backend::mpi: return "mpi_" + std::to_string(world.ranks);
        case World::Backend::nccl: return "nccl_" + std::to_string(world.ranks);
    }
    return "?";
}

std::unique_ptr<Communicator>& mpi_world_of_process() {
    static std::unique_ptr<Communicator> world;
    return world;
}

std::unique_ptr<Communicator> over_nccl(Communicator& control, int device) {
    return NcclGroups(control, device).make(control.split(0, control.rank(), control.name()));
}

void on_local_ranks(int ranks, const std::function<void(Communicator&)>& body, const CommunicatorOptions& options) {
    auto worlds = local_world(ranks, options);
    std::vector<std::jthread> threads;
    threads.reserve(worlds.size());
    for (auto& world : worlds) {
        threads.emplace_back([&body, &world = *world] {
            at::set_num_threads(1);
            try {
                body(world);
            } catch (const std::exception& error) {
                ADD_FAILURE() << "rank " << world.rank() << ": " << error.what();
                world.abort(error.what(), 1);
            }
        });
    }
}

namespace {

int devices_here() { return at::hasCUDA() ? c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).deviceCount() : 0; }

thread_local c10::DeviceIndex device_of_rank = 0;

}  // namespace

void EveryBackend::SetUp() {
    const World& world = GetParam();
    if (world.backend == World::Backend::mpi) {
        if (!mpi_world_of_process()) GTEST_SKIP() << "runs under mpirun";
        if (mpi_world_of_process()->size() < world.ranks) GTEST_SKIP() << "needs " << world.ranks << " processes";
    }
    const int devices = world.backend == World::Backend::nccl         ? world.ranks
                        : world.backend == World::Backend::local_cuda ? 1
                                                                      : 0;
    if (devices_here() < devices) GTEST_SKIP() << "needs " << devices << " GPUs, here are " << devices_here();
}

void EveryBackend::on_ranks(const std::function<void(Communicator&)>& body) const {
    const World& world = GetParam();
    switch (world.backend) {
        case World::Backend::local:
        case World::Backend::local_cuda: return on_local_ranks(world.ranks, body, {.limit = {std::chrono::minutes(2)}});
        case World::Backend::mpi: {
            Communicator& all = *mpi_world_of_process();
            const bool takes_part = all.rank() < world.ranks;
            const auto group = all.split(takes_part ? 0 : 1, all.rank(), name_of(world));
            try {
                if (takes_part) body(*group);
            } catch (const std::exception& error) {
                ADD_FAILURE() << "rank " << all.rank() << ": " << error.what();
                all.abort(error.what(), 1);
            }
            all.barrier();
            return;
        }
        case World::Backend::nccl:
            return on_local_ranks(world.ranks,
                                  [&](Communicator& bootstrap) {
                                      device_of_rank = static_cast<c10::DeviceIndex>(bootstrap.rank());
                                      const auto group = over_nccl(bootstrap, device_of_rank);
                                      body(*group);
                                  },
                                  {.limit = {std::chrono::minutes(2)}});
    }
}

at::Device EveryBackend::device() const {
    const World::Backend backend = GetParam().backend;
    switch (backend) {
        case World::Backend::local:
        case World::Backend::mpi: return at::kCPU;
        case World::Backend::local_cuda: return {at::kCUDA, 0};
        case World::Backend::nccl: return {at::kCUDA, device_of_rank};
    }
    return at::kCPU;
}

at::Tensor EveryBackend::random(std::int64_t numel, at::ScalarType dtype, std::int64_t seed) const {
    return random_tensor(numel, dtype, seed).to(device());
}

at::Tensor EveryBackend::unset(std::int64_t numel, at::ScalarType dtype) const {
    return at::zeros({numel}, dtype).to(device());
}

at::Tensor EveryBackend::full(std::int64_t numel, double value, at::ScalarType dtype) const {
    return at::full({numel}, value, dtype).to(device());
}

std::unique_ptr<Communicator> EveryBackend::downwards(Communicator& group) const {
    if (GetParam().backend != World::Backend::nccl) return nullptr;
    return group.split(0, group.rank(), "downwards");
}

at::Tensor random_tensor(std::int64_t numel, at::ScalarType dtype, std::int64_t seed) {
    const at::Tensor wide = at::empty({numel}, at::kFloat);
    auto* values = wide.data_ptr<float>();
    const bool floating = c10::isFloatingType(dtype);
    std::uint64_t state = static_cast<std::uint64_t>(seed) * 0x9e3779b97f4a7c15u + 1;
    for (std::int64_t i = 0; i < numel; ++i) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        const auto mantissa = static_cast<float>(static_cast<std::int32_t>(state >> 32));  // of either sign
        if (floating)
            values[i] = mantissa * 0x1p-31f * static_cast<float>(1 << (state & 7));
        else
            values[i] = static_cast<float>(state >> 32 & (dtype == at::kBool ? 1 : 127));
    }
    return wide.to(dtype);
}

testing::AssertionResult same_bits(const at::Tensor& actual, const at::Tensor& expected) {
    const at::Tensor a = actual.cpu().contiguous(), b = expected.cpu().contiguous();
    if (a.scalar_type() != b.scalar_type() || a.numel() != b.numel())
        return testing::AssertionFailure()
               << a.numel() << " of " << a.scalar_type() << " instead of " << b.numel() << " of " << b.scalar_type();
    const auto *left = static_cast<const std::byte*>(a.const_data_ptr()),
               *right = static_cast<const std::byte*>(b.const_data_ptr());
    const auto difference = std::mismatch(left, left + a.nbytes(), right).first - left;
    if (difference == static_cast<std::ptrdiff_t>(a.nbytes())) return testing::AssertionSuccess();
    const std::int64_t index = difference / static_cast<std::int64_t>(a.element_size());
    return testing::AssertionFailure() << "element " << index << " of " << a.numel() << " is "
                                       << a.view({-1})[index].to(at::kDouble).item<double>() << " instead of "
                                       << b.view({-1})[index].to(at::kDouble).item<double>();
}

namespace {

template <typename Combine>
at::Tensor combined(const std::vector<at::Tensor>& terms, Combine combine) {
    const at::ScalarType dtype = terms.front().scalar_type();
    const at::ScalarType wide = dtype == at::kHalf || dtype == at::kBFloat16 ? at::kFloat : dtype;
    at::Tensor result = terms.front().cpu().to(wide);
    for (std::size_t rank = 1; rank < terms.size(); ++rank) result = combine(result, terms[rank].cpu().to(wide));
    return result.to(dtype);
}

}  // namespace

at::Tensor joined(const std::vector<at::Tensor>& pieces) {
    std::vector<at::Tensor> here;
    here.reserve(pieces.size());
    for (const at::Tensor& piece : pieces) here.push_back(piece.cpu());
    return at::cat(here);
}

at::Tensor sum_of(const std::vector<at::Tensor>& terms) {
    return combined(terms, [](const at::Tensor& a, const at::Tensor& b) { return at::add(a, b); });
}

at::Tensor max_of(const std::vector<at::Tensor>& terms) {
    return combined(terms, [](const at::Tensor& a, const at::Tensor& b) { return at::maximum(a, b); });
}

const std::vector<at::ScalarType>& dtypes_that_move() {
    static const std::vector<at::ScalarType> dtypes{at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong,
                                                    at::kInt,   at::kShort,  at::kByte, at::kBool};
    return dtypes;
}

const std::vector<at::ScalarType>& dtypes_that_add() {
    static const std::vector<at::ScalarType> dtypes{at::kFloat,    at::kDouble, at::kHalf,
                                                    at::kBFloat16, at::kLong,   at::kInt};
    return dtypes;
}

}  // namespace smp::comms
