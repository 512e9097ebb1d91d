// Groups over NCCL beside a world of threads, over the stand-in for CUDA.
#include <chrono>
#include <limits>

#include <gmock/gmock.h>

#include "comms/backends/nccl.h"
#include "tests/comms/worlds.h"
#include "tests/seed.h"
#include "tests/standin/over_standin.h"

namespace smp::comms {
namespace {

class NcclGroupsTest : public standin::OverStandIn<> {
  protected:
    static at::Tensor filled(const Communicator& world, std::int64_t numel, double value) {
        return at::full({numel}, value, at::kFloat)
            .to(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(world.rank())));
    }
};

// Two stages that send to each other at the same time, as with a tied embedding or around the end of chunks.
TEST_F(NcclGroupsTest, AnEdgeEachWayLetsMessagesCross) {
    on_local_ranks(2, [](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups groups(world, rank);
        const auto down = groups.make(world.split(0, rank, "0 -> 1"), NcclLinks::first_to_second);
        const auto up = groups.make(world.split(0, -rank, "1 -> 0"), NcclLinks::first_to_second);
        EXPECT_EQ(up->world_rank(0), 1);
        for (int round = 0; round < 20; ++round) {
            const at::Tensor received = filled(world, 100, -1);
            Work in = (rank == 0 ? up : down)->receive(received, 0);
            Work out = (rank == 0 ? down : up)->send(filled(world, 100, 10 * round + rank), 1);
            in.wait();
            out.wait();
            EXPECT_EQ(received[99].item<float>(), static_cast<float>(10 * round + 1 - rank));
        }
    });
}

TEST_F(NcclGroupsTest, AnEdgeIsConnectedOneWay) {
    standin::control()->plant({.call = "ncclSend", .device = 1, .result = 2});
    on_local_ranks(2, [](Communicator& world) {
        const NcclGroups groups(world, world.rank());
        const auto edge = groups.make(world.split(0, world.rank(), "0 -> 1"), NcclLinks::first_to_second);
        const at::Tensor tensor = filled(world, 100, world.rank());
        (world.rank() == 0 ? edge->send(tensor, 1) : edge->receive(tensor, 0)).wait();
        EXPECT_EQ(tensor[99].item<float>(), 0);
    });
}

// Connections of pairs take memory, and of most groups none is ever used.
TEST_F(NcclGroupsTest, RingsConnectNoPair) {
    for (const char* call : {"ncclSend", "ncclRecv"}) standin::control()->plant({.call = call, .result = 2});
    on_local_ranks(3, [](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups groups(world, rank, NcclSums::native);
        const auto group = groups.make(world.split(0, rank, "group"), NcclLinks::rings);
        const at::Tensor terms = filled(world, 9, 1 << rank), piece = terms.narrow(0, 3 * rank, 3);
        reduce_scatter(*group, piece, terms).wait();
        group->all_gather(terms, piece).wait();
        EXPECT_EQ(terms[8].item<float>(), 7);
        all_reduce(*group, terms).wait();
        EXPECT_EQ(terms[8].item<float>(), 21);
        EXPECT_THROW((void)group->send(terms, (rank + 1) % 3), CommunicationError);
    });
}

// 3 terms of about 1 in fp32: two roundings.
TEST_F(NcclGroupsTest, NativeSumsAreSumsAndExactWhereNumbersAre) {
    on_local_ranks(3, [](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups natively(world, rank, NcclSums::native), in_order(world, rank);
        const auto native = natively.make(world.split(0, rank, "native"));
        const auto ordered = in_order.make(world.split(0, rank, "ordered"));
        const auto device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(rank));
        const at::Tensor own = at::linspace(0.1, 1.3, 600).mul(rank + 1);
        const auto sums = [&](Communicator& group, at::ScalarType type) {
            const at::Tensor all = own.to(type).to(device), piece = at::empty({200}, all.options());
            reduce_scatter(group, piece, all).join();
            const at::Tensor scattered = piece.cpu();
            all_reduce(group, all).join();
            const at::Tensor everywhere = all.cpu();
            EXPECT_TRUE(everywhere.narrow(0, 200 * rank, 200).equal(scattered));
            return everywhere;
        };
        EXPECT_TRUE(at::allclose(sums(*native, at::kFloat), sums(*ordered, at::kFloat), 3e-7, 0));
        for (const at::ScalarType type : {at::kLong, at::kInt, at::kBFloat16, at::kHalf})
            EXPECT_TRUE(sums(*native, type).equal(sums(*ordered, type))) << type;
        const at::Tensor largest = filled(world, 2, rank == 1 ? std::numeric_limits<double>::quiet_NaN() : rank);
        all_reduce(*native, largest, Reduction::max).join();
        EXPECT_TRUE(largest.cpu().isnan().all().item<bool>());
    });
}

// Exact in any order: NCCL's own, which has no bound on the ranks and takes no memory for their terms.
TEST_F(NcclGroupsTest, SumsOfIntegersExchangeNoPieces) {
    on_local_ranks(3, [](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups groups(world, rank, NcclSums::in_rank_order);
        const auto group = groups.make(world.split(0, rank, "group"));
        world.barrier();
        if (rank == 0) standin::control()->plant({.call = "ncclSend", .result = 2});
        world.barrier();
        const auto device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(rank));
        const at::Tensor all = at::full({9}, (std::int64_t{1} << 60) + rank, at::kLong).to(device);
        all_reduce(*group, all).wait();
        EXPECT_EQ(all[8].item<std::int64_t>(), 3 * (std::int64_t{1} << 60) + 3);
        const at::Tensor terms = at::full({9}, 1 << rank, at::kInt).to(device), own = terms.narrow(0, 3 * rank, 3);
        reduce_scatter(*group, own, terms).wait();
        EXPECT_EQ(own[2].item<int>(), 7);
    });
}

// Looks are rare where devices move on by themselves: what has ended is not in flight for that.
TEST_F(NcclGroupsTest, AGroupEndsWellWhoseOperationsHaveEnded) {
    on_local_ranks(2, [](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups groups(world, rank);
        {
            const auto group = groups.make(world.split(0, rank, "group"));
            const at::Tensor tensor = filled(world, 100, rank + 1);
            all_reduce(*group, tensor).join();
            EXPECT_EQ(tensor.cpu()[99].item<float>(), 3);  // waits inside CUDA
        }
        groups.make(world.split(0, rank, "another"))->barrier();
    });
}

TEST_F(NcclGroupsTest, TheWorldKeepsTensorsOfTheCpu) {
    on_local_ranks(4, [](Communicator& world) {
        const int rank = world.rank();
        const NcclGroups groups(world, rank);
        const auto half = groups.make(world.split(rank / 2, rank, "half"));
        const at::Tensor on_device = filled(world, 1000, rank), on_host = at::full({3}, rank, at::kLong);
        Work sum = all_reduce(*half, on_device);
        all_reduce(world, on_host).wait();
        sum.wait();
        EXPECT_EQ(on_device[999].item<float>(), static_cast<float>(rank < 2 ? 1 : 5));
        EXPECT_EQ(on_host[2].item<std::int64_t>(), 6);
        EXPECT_THROW((void)half->broadcast(on_host, 0), std::logic_error);
    });
}

TEST_F(NcclGroupsTest, AGroupOfOneMakesNoCallOfNccl) {
    for (const char* call : {"ncclGetUniqueId", "ncclCommInitRankConfig"})
        standin::control()->plant({.call = call, .result = 3});
    on_local_ranks(2, [](Communicator& world) {
        const NcclGroups groups(world, world.rank());
        const auto alone = groups.make(world.split(world.rank(), 0, "alone"));
        const at::Tensor input = filled(world, 10, 3), output = filled(world, 10, 0);
        alone->all_gather(output, input).wait();
        alone->barrier();
        EXPECT_EQ(output[9].item<float>(), 3);
    });
}

}  // namespace
}  // namespace smp::comms
