// If these fail, a time-out blames a rank that only waits for another one.
#include "comms/inquiry.h"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>

#include "comms/progress.h"
#include "tests/comms/worlds.h"

namespace smp::comms {

namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Standing waiting(std::vector<int> ranks, const std::string& activity = "") {
    return {.waits = true, .operation = "receive of 4 bytes", .awaited = std::move(ranks), .activity = activity};
}
std::string named(int rank) { return "rank " + std::to_string(rank) + " (pp " + std::to_string(rank) + ")"; }

TEST(Inquiry, AChainOfWaitsIsFollowedToTheRankThatDoesNotAnswer) {
    const Standings standings = {waiting({1}), waiting({3}, "step 7"), std::nullopt, waiting({2})};
    EXPECT_EQ(explain(0, standings, named),
              "rank 0 waits for rank 1; rank 1 waits for rank 3 (receive of 4 bytes, in step 7); "
              "rank 3 waits for rank 2 (receive of 4 bytes): rank 2 (pp 2), which does not answer: stopped, ended, or "
              "busy for long outside of communication; see what holds that process up");
}

TEST(Inquiry, OfSeveralRootsThoseThatDoNotAnswerAreNamed) {
    const Standings standings = {waiting({1, 2, 3}), Standing{.activity = "step 2"}, std::nullopt, std::nullopt};
    EXPECT_THAT(explain(0, standings, named), HasSubstr(": rank 2 (pp 2) and rank 3 (pp 3), which do not answer"));
}

TEST(Inquiry, ARankAtWorkIsNamedWithWhatItDoes) {
    const Standings standings = {waiting({1}), Standing{.activity = "step 2, forward mb1"}};
    EXPECT_EQ(explain(0, standings, named),
              "rank 0 waits for rank 1: rank 1 (pp 1), which is at work: step 2, forward mb1");
}

TEST(Inquiry, RanksThatWaitForEachOtherAreSaidTo) {
    const Standings standings = {waiting({1}), waiting({2}), waiting({1})};
    EXPECT_THAT(explain(0, standings, named),
                AllOf(HasSubstr("rank 0 (pp 0), rank 1 (pp 1) and rank 2 (pp 2) wait for each other: "),
                      HasSubstr("rank 2 waits for rank 1 (receive of 4 bytes)")));
}

TEST(Inquiry, ALongChainAndALongListStayReadable) {
    Standings standings;
    for (int rank = 0; rank < 999; ++rank) standings.emplace_back(waiting({rank + 1}));
    standings.emplace_back(std::nullopt);
    const std::string chain = explain(0, standings, named);
    EXPECT_LT(chain.size(), 1000U);
    EXPECT_THAT(chain, AllOf(HasSubstr("rank 0 waits for rank 1; "), HasSubstr("991 more in between"),
                             HasSubstr("rank 998 waits for rank 999 "), HasSubstr(": rank 999 (pp 999), which")));
    Standings star(1000);
    star[0] = waiting({});
    for (int rank = 1; rank < 1000; ++rank) star[0]->awaited.push_back(rank);
    EXPECT_THAT(explain(0, star, named), HasSubstr("rank 8 (pp 8) and 991 more, which do not answer"));
}

TEST(Inquiry, AStandingIsReadBackFromItsText) {
    for (const Standing& standing :
         {Standing{}, Standing{.activity = "step 3"}, waiting({}), waiting({0, 17, 4}, "step 3, send mb2")})
        EXPECT_EQ(standing_of(to_text(standing)), standing);
    const Standing torn = standing_of(to_text(waiting({1})).substr(0, 5));
    EXPECT_FALSE(torn.waits);
}

/// Ranks 0, 1 and 3 of a pp 2 x tp 2 world wait, one for the other, for rank 2; their times run out together.
TEST(Inquiry, OneRankTellsOfTimeOutsThatComeTogetherAndNamesTheRoot) {
    std::atomic<int> told = 0, ended = 0;
    on_local_ranks(
        4,
        [&](Communicator& world) {
            world.name_places({"pp 0, tp 0, rdp 0", "pp 0, tp 1, rdp 0", "pp 1, tp 0, rdp 0", "pp 1, tp 1, rdp 0"});
            const auto tensor = world.split(world.rank() / 2, world.rank(), "tensor");
            const auto edge = world.split(world.rank() % 2, world.rank(), "edge");
            world.set_limit({milliseconds(200), "cluster.timeout_seconds"});
            const Activity activity(world, [&] { return "step 7, rank " + std::to_string(world.rank()); });
            try {
                const at::Tensor token = at::zeros({1});
                if (world.rank() == 0) all_reduce(*tensor, token).wait();
                if (world.rank() == 1) edge->receive(token, 1).wait();
                if (world.rank() == 3) all_reduce(*tensor, token).wait();
                while (ended < 3) std::this_thread::sleep_for(milliseconds(1));  // rank 2
            } catch (const CommunicationError& error) {
                if (!error.by_peer()) {
                    ++told;
                    EXPECT_THAT(error.what(),
                                AllOf(HasSubstr(" did not complete within 200 ms (cluster.timeout_seconds), in step 7"),
                                      HasSubstr("rank 3 waits for rank 2"),
                                      HasSubstr(": rank 2 (pp 1, tp 0, rdp 0), which does not answer"),
                                      HasSubstr("raise cluster.timeout_seconds"), Not(HasSubstr("I am"))));
                    world.abort(error.what(), 4);
                }
                ++ended;
            }
        },
        {.limit = {std::chrono::minutes(1)}});
    EXPECT_EQ(told, 1);
}

/// The rank that holds the others up is at work, and answers between two operators.
TEST(Inquiry, ARankThatIsSlowTellsWhatItDoes) {
    std::atomic<bool> ended = false;
    on_local_ranks(2,
                   [&](Communicator& world) {
                       if (world.rank() == 1) {
                           const Activity activity(world, [] { return std::string("reading a slow disk"); });
                           while (!ended) {
                               world.progress();
                               std::this_thread::sleep_for(milliseconds(1));
                           }
                           return;
                       }
                       try {
                           world.receive(at::zeros({1}), 1).wait();
                           ADD_FAILURE() << "received what nobody sent";
                       } catch (const CommunicationError& error) {
                           EXPECT_THAT(error.what(), HasSubstr("rank 1, which is at work: reading a slow disk"));
                       }
                       ended = true;
                   },
                   {.limit = {milliseconds(100)}});
}

TEST(Inquiry, ALimitBeyondTheEndOfTimeIsNone) {
    constexpr auto kMost = std::chrono::milliseconds::max();
    EXPECT_EQ(after(Clock::now(), kMost), Clock::time_point::max());
    on_local_ranks(2,
                   [](Communicator& world) {
                       if (world.rank() == 1) std::this_thread::sleep_for(milliseconds(20));
                       world.barrier();
                   },
                   {.limit = {kMost}});
}

}  // namespace
}  // namespace smp::comms
