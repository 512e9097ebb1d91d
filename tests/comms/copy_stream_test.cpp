#include "comms/device/copy_stream.h"

#include <chrono>
#include <future>
#include <stdexcept>
#include <string>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <gmock/gmock.h>

#include "tests/comms/worlds.h"

namespace smp::comms {
namespace {

using std::chrono::milliseconds;

TEST(CopyStream, CopiesInTheOrderOfTheCalls) {
    on_local_ranks(2, [](Communicator& world) {
        HostCopyStream out("copies out", world.in_flight()), back("copies back", world.in_flight());
        const at::Tensor first = at::arange(2100, at::kFloat), second = at::arange(2100, 4200, at::kFloat);
        const at::Tensor host = at::empty({2100}), again = at::empty({2100});
        Work a = out.copy(host, first), b = out.copy(host, second);
        b.wait();
        EXPECT_TRUE(a.test());  // ended before
        EXPECT_TRUE(host.equal(second));
        back.copy(again, host).wait();
        EXPECT_TRUE(again.equal(second));
    });
}

// The end of the first copy waits for what the caller does after the call.
TEST(CopyStream, CopiesBesideTheCaller) {
    on_local_ranks(1, [](Communicator& world) {
        HostCopyStream out("copies out", world.in_flight());
        const at::Tensor source = at::arange(1024, at::kFloat), destination = at::empty({1024});
        std::promise<void> returned;
        std::future_status met = std::future_status::deferred;
        Work first =
            out.copy(destination, source, [&] { met = returned.get_future().wait_for(std::chrono::minutes(1)); });
        Work second = out.copy(destination, source);
        EXPECT_FALSE(first.test());
        EXPECT_FALSE(second.test());
        returned.set_value();
        second.wait();
        EXPECT_TRUE(first.test());
        EXPECT_EQ(met, std::future_status::ready);
    });
}

// No sooner than the bytes take; how much later is the machine's affair.
TEST(CopyStream, TakesTheTimeOfASlowLink) {
    on_local_ranks(1, [](Communicator& world) {
        HostCopyStream out("copies out", world.in_flight(), {.bytes_per_second = 4096 / 0.05});
        const at::Tensor source = at::arange(1024, at::kFloat), destination = at::empty({1024});
        const auto begin = std::chrono::steady_clock::now();
        std::chrono::steady_clock::time_point end;
        out.copy(destination, source, [&] { end = std::chrono::steady_clock::now(); }).wait();
        EXPECT_GE(end - begin, milliseconds(50));
    });
}

TEST(CopyStream, AWaitEndsAtTheLimitAndNamesTheCopy) {
    on_local_ranks(1,
                   [](Communicator& world) {
                       HostCopyStream out("copies out", world.in_flight(), {.bytes_per_second = 4096 / 0.3});
                       const at::Tensor source = at::arange(1024, at::kFloat), destination = at::empty({1024});
                       Work work = out.copy(destination, source);
                       try {
                           work.wait();
                           ADD_FAILURE() << "waited for longer than the limit";
                       } catch (const CommunicationError& error) {
                           EXPECT_THAT(error.what(),
                                       testing::HasSubstr("one of the copies out, of 4096 bytes, did not complete "
                                                          "within 20 ms; rank 0 waits for no other rank"));
                       }
                   },
                   {.limit = {milliseconds(20)}});
}

TEST(CopyStream, LetsGoOfItsTensorsWhenTheCopyHasEnded) {
    on_local_ranks(1, [](Communicator& world) {
        HostCopyStream out("copies out", world.in_flight());
        at::Tensor source = at::arange(1024, at::kFloat);
        const at::Tensor destination = at::empty({1024});
        Work work = out.copy(destination, source);
        work.wait();
        EXPECT_EQ(source.use_count(), 1u);
    });
}

TEST(CopyStream, RefusesWhatDoesNotFit) {
    on_local_ranks(1, [](Communicator& world) {
        HostCopyStream out("copies out", world.in_flight());
        EXPECT_THROW((void)out.copy(at::empty({3}), at::empty({4})), std::logic_error);
        EXPECT_THROW((void)out.copy(at::empty({4, 4}).t(), at::empty({4, 4})), std::logic_error);
        EXPECT_THROW((void)out.copy({}, at::empty({4})), std::logic_error);
    });
}

}  // namespace
}  // namespace smp::comms
