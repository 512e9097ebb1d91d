// If these fail, a rank that works at the start for longer than others may wait ends the job, or one that stands still
// does not.
#include "runtime/agreement/long_work.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/agreement/agreement.h"
#include "runtime/files/data_error.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

void on_hasty_ranks(int ranks, std::chrono::milliseconds timeout,
                    const std::function<void(comms::Communicator&)>& body) {
    smp::testing::on_ranks(comms::local_world(ranks, {.limit = {timeout, "cluster.startup_timeout_seconds"}}), body);
}

TEST(LongWork, OthersWaitForARankThatWorksHoweverLong) {
    constexpr auto kLimit = 1500ms;
    std::atomic<int> ended = 0;
    on_hasty_ranks(3, kLimit, [&](comms::Communicator& world) {
        const bool works = world.rank() == 1;
        work_together(world,
                      [works, kLimit](const ReportWork& report) {
                          const auto end = std::chrono::steady_clock::now() + 2 * kLimit;
                          for (int done = 0; works && std::chrono::steady_clock::now() < end; ++done) {
                              report({.what = "working", .done = done, .of = 1000});
                              std::this_thread::sleep_for(10ms);
                          }
                      },
                      {});
        ++ended;
    });
    EXPECT_EQ(ended, 3);
}

TEST(LongWork, ARankThatStandsStillEndsTheJobAndIsNamed) {
    auto released = std::make_shared<std::atomic<bool>>(false);
    std::string own;
    try {
        on_hasty_ranks(2, 300ms, [&](comms::Communicator& world) {
            const bool stands = world.rank() == 1;
            work_together(world,
                          [stands, released](const ReportWork& report) {
                              if (!stands) return;
                              report({.what = "tokenising \"book.txt\"", .done = 25, .of = 100});
                              while (!*released) std::this_thread::sleep_for(1ms);
                          },
                          {});
        });
    } catch (const comms::CommunicationError& error) {
        own = error.what();
    }
    *released = true;
    EXPECT_THAT(own, AllOf(HasSubstr("tokenising \"book.txt\": 25 %"), HasSubstr("has stood still for 300 ms")));
}

// A program that ends takes away what such a thread uses.
TEST(LongWork, WhereAnotherRankFailsWorkEndsWithTheCall) {
    struct Life {
        std::atomic<bool> begun = false, over = false;
    };
    const auto life = std::make_shared<Life>();
    const auto endless = [life](const ReportWork& report) {
        struct AtEnd {
            Life& life;
            ~AtEnd() { life.over = true; }
        } at_end{*life};
        life->begun = true;
        for (int i = 0;; ++i) {
            report({.what = "working", .done = i, .of = 1000});
            std::this_thread::sleep_for(1ms);
        }
    };
    bool was_over = false;
    const auto body = [&](comms::Communicator& world) {
        if (world.rank() == 1) {
            while (!life->begun) std::this_thread::yield();
            throw std::runtime_error("a rank that leaves");
        }
        try {
            work_together(world, endless, {});
        } catch (const comms::CommunicationError&) {
            was_over = life->over;
        }
    };
    EXPECT_THROW(smp::testing::on_local_ranks(2, body), std::runtime_error);
    EXPECT_TRUE(was_over);
}

TEST(LongWork, AFailureIsThrownByAllRanks) {
    std::atomic<int> told = 0;
    smp::testing::on_local_ranks(3, [&](comms::Communicator& world) {
        const bool fails = world.rank() == 2;
        try {
            work_together(world,
                          [fails](const ReportWork&) {
                              if (fails) throw DataError("no such text");
                          },
                          {});
            ADD_FAILURE() << "rank " << world.rank() << " went on";
        } catch (const DataError& error) {
            EXPECT_STREQ(error.what(), "no such text");
            ++told;
        }
        world.barrier();
    });
    EXPECT_EQ(told, 3);
}

TEST(LongWork, RankZeroTellsHowFarTheSlowestHasCome) {
    auto sentence = std::make_shared<std::atomic<const std::string*>>(nullptr);
    std::string told;
    smp::testing::on_local_ranks(2, [&](comms::Communicator& world) {
        const bool works = world.rank() == 1;
        work_together(
            world,
            [works, sentence](const ReportWork& report) {
                while (works && *sentence == nullptr) {
                    report({.what = "tokenising \"book.txt\"", .done = 25'000'000, .of = 100'000'000});
                    std::this_thread::sleep_for(1ms);
                }
            },
            [&](const std::string& text) {
                EXPECT_EQ(world.rank(), 0);
                told = text;
                *sentence = &told;
            });
    });
    EXPECT_EQ(told, "rank 1: tokenising \"book.txt\": 25 % of 100.0 MB");
}

}  // namespace
}  // namespace smp::runtime
