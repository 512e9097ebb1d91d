// What every backend must do, on worlds of every size, each result compared bit by bit with a plain computation in one
// thread.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/comms/worlds.h"

namespace smp::comms {

namespace {

using Tensors = std::vector<at::Tensor>;

// Odd sizes, around the edges of lines and blocks, and one above the thresholds of algorithms.
const std::vector<std::int64_t> kSizes{0, 1, 16, 17, 1025, 20'011};

const std::vector<World> kWorlds{
    {World::Backend::local, 1},      {World::Backend::local, 2},     {World::Backend::local, 3},
    {World::Backend::local, 4},      {World::Backend::local, 8},     {World::Backend::mpi, 1},
    {World::Backend::mpi, 2},        {World::Backend::mpi, 3},       {World::Backend::mpi, 4},
    {World::Backend::nccl, 1},       {World::Backend::nccl, 2},      {World::Backend::nccl, 4},
    {World::Backend::local_cuda, 2}, {World::Backend::local_cuda, 3}};

Tensors pieces_of(const at::Tensor& tensor, int ranks) {
    Tensors pieces;
    for (int rank = 0; rank < ranks; ++rank)
        pieces.push_back(tensor.narrow(0, rank * (tensor.numel() / ranks), tensor.numel() / ranks));
    return pieces;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Over, EveryBackend, testing::ValuesIn(kWorlds),
                         [](const auto& world) { return name_of(world.param); });

TEST_P(EveryBackend, MessagesArriveAsTheyWereSent) {
    on_ranks([&](Communicator& group) {
        const int ranks = group.size(), rank = group.rank();
        // They cross: every rank receives from a peer before it sends there.
        const auto down = downwards(group);
        const auto way = [&](int from, int to) -> Communicator& { return down && to < from ? *down : group; };
        for (const auto dtype : dtypes_that_move()) {
            for (const std::int64_t size : kSizes) {
                Tensors received;
                std::vector<Work> works;
                for (int other = 0; other < ranks; ++other) {
                    received.push_back(unset(size, dtype));
                    if (other == rank) continue;
                    works.push_back(way(other, rank).receive(received[other], other));
                    works.push_back(
                        way(rank, other).send(random(size, dtype, 100 * rank + other), other));  // kept by its Work
                }
                for (Work& work : works) work.wait();
                for (int other = 0; other < ranks; ++other)
                    if (other != rank) {
                        EXPECT_TRUE(same_bits(received[other], random(size, dtype, 100 * other + rank)));
                    }
            }
        }
    });
}

// Each is behind the one before in the order of the current stream, and gives its tensors up before it has ended.
TEST_P(EveryBackend, WhatIsJoinedIsThereForWhatFollows) {
    on_ranks([&](Communicator& group) {
        const int ranks = group.size(), rank = group.rank();
        const std::int64_t piece = 3000;
        for (int round = 0; round < 10; ++round) {
            const at::Tensor own = random(piece, at::kFloat, 10 * round + rank), all = unset(ranks * piece, at::kFloat);
            Work gathered = group.all_gather(all, own);
            gathered.join();
            EXPECT_TRUE(gathered.test());  // nothing is left to wait for
            const at::Tensor copy = all.clone();
            all.copy_(unset(ranks * piece, at::kFloat));  // ours again
            group.broadcast(copy, ranks - 1).join();
            for (int other = 0; other < ranks; ++other)
                EXPECT_TRUE(same_bits(copy.narrow(0, other * piece, piece).clone(),
                                      random(piece, at::kFloat, 10 * round + other)));
        }
        group.barrier();
    });
}

TEST_P(EveryBackend, MessagesOfAPairKeepTheirOrderHoweverTheyAreWaitedFor) {
    constexpr int kMessages = 40;
    const auto size = [](int message) { return message % 5 == 0 ? 70'000 + message : 3 + message; };
    on_ranks([&](Communicator& group) {
        const int ranks = group.size(), rank = group.rank(), next = (rank + 1) % ranks,
                  previous = (rank + ranks - 1) % ranks;
        if (ranks == 1) return;
        Tensors received;
        std::vector<Work> works;
        for (int message = 0; message < kMessages; ++message) {
            received.push_back(unset(size(message), at::kFloat));
            // Some sends before their receives, some after.
            if ((message + rank) % 2 == 0)
                works.push_back(group.send(random(size(message), at::kFloat, 1000 * rank + message), next));
            works.push_back(group.receive(received.back(), previous));
            if ((message + rank) % 2 == 1)
                works.push_back(group.send(random(size(message), at::kFloat, 1000 * rank + message), next));
        }
        std::shuffle(works.begin(), works.end(), std::mt19937(rank));
        for (Work& work : works) work.wait();
        for (int message = 0; message < kMessages; ++message)
            EXPECT_TRUE(same_bits(received[message], random(size(message), at::kFloat, 1000 * previous + message)));
    });
}

TEST_P(EveryBackend, AllGatherAllToAllAndBroadcastMoveEveryDtype) {
    on_ranks([&](Communicator& group) {
        const int ranks = group.size(), rank = group.rank();
        for (const auto dtype : dtypes_that_move()) {
            for (const std::int64_t size : kSizes) {
                Tensors inputs, columns;
                for (int other = 0; other < ranks; ++other) {
                    inputs.push_back(random(ranks * size, dtype, other));
                    columns.push_back(pieces_of(inputs.back(), ranks)[rank]);
                }
                const at::Tensor expected = joined(columns);

                at::Tensor output = unset(ranks * size, dtype);
                group.all_to_all(output, inputs[rank]).wait();
                EXPECT_TRUE(same_bits(output, expected)) << "all_to_all";

                Tensors whole;
                for (int other = 0; other < ranks; ++other) whole.push_back(random(size, dtype, 50 + other));
                output = unset(ranks * size, dtype);
                group.all_gather(output, whole[rank]).wait();
                EXPECT_TRUE(same_bits(output, joined(whole))) << "all_gather";

                output = unset(ranks * size, dtype);  // the input in its place already
                output.narrow(0, rank * size, size).copy_(whole[rank]);
                group.all_gather(output, output.narrow(0, rank * size, size)).wait();
                EXPECT_TRUE(same_bits(output, joined(whole))) << "all_gather in place";

                const int root = static_cast<int>(size % ranks);
                const at::Tensor spread = whole[rank].clone();
                group.broadcast(spread, root).wait();
                EXPECT_TRUE(same_bits(spread, whole[root])) << "broadcast from " << root;
            }
        }
        for (int root = 0; root < ranks; ++root) {
            const at::Tensor spread = random(1001, at::kFloat, 70 + rank);
            group.broadcast(spread, root).wait();
            EXPECT_TRUE(same_bits(spread, random(1001, at::kFloat, 70 + root)));
        }
    });
}

TEST_P(EveryBackend, ReductionsAddInRankOrder) {
    on_ranks([&](Communicator& group) {
        const int ranks = group.size(), rank = group.rank();
        for (const auto dtype : dtypes_that_add()) {
            for (const std::int64_t size : kSizes) {
                for (const auto reduction : {Reduction::sum, Reduction::max}) {
                    const auto combined = [&](const Tensors& terms) {
                        return reduction == Reduction::sum ? sum_of(terms) : max_of(terms);
                    };
                    Tensors terms;
                    for (int other = 0; other < ranks; ++other) terms.push_back(random(size, dtype, other));
                    const at::Tensor reduced = terms[rank].clone();
                    all_reduce(group, reduced, reduction).wait();
                    EXPECT_TRUE(same_bits(reduced, combined(terms))) << "all_reduce of " << size << " " << dtype;

                    Tensors inputs;
                    for (int other = 0; other < ranks; ++other)
                        inputs.push_back(random(ranks * size, dtype, 10 + other));
                    const at::Tensor expected = pieces_of(combined(inputs), ranks)[rank];
                    const at::Tensor input = inputs[rank].clone(), output = unset(size, dtype);
                    reduce_scatter(group, output, input, reduction).wait();
                    EXPECT_TRUE(same_bits(output, expected)) << "reduce_scatter to " << size << " " << dtype;
                    EXPECT_TRUE(same_bits(input, inputs[rank])) << "reduce_scatter changed its input";

                    const at::Tensor place = pieces_of(input, ranks)[rank];
                    reduce_scatter(group, place, input, reduction).wait();
                    EXPECT_TRUE(same_bits(place, expected)) << "reduce_scatter in place";
                    for (int other = 0; other < ranks; ++other)
                        if (other != rank) {
                            EXPECT_TRUE(
                                same_bits(pieces_of(input, ranks)[other], pieces_of(inputs[rank], ranks)[other]));
                        }
                }
            }
        }
    });
}

TEST_P(EveryBackend, LargeTensorsReduceInRankOrderToo) {
    on_ranks([&](Communicator& group) {
        Tensors terms;
        for (int other = 0; other < group.size(); ++other) terms.push_back(random(700'001, at::kFloat, other));
        const at::Tensor tensor = terms[group.rank()].clone();
        all_reduce(group, tensor).wait();
        EXPECT_TRUE(same_bits(tensor, sum_of(terms)));
    });
}

TEST_P(EveryBackend, AMaximumWithANanIsNan) {
    on_ranks([&](Communicator& group) {
        for (int place = 0; place < group.size(); ++place) {
            const at::Tensor own = at::full({5}, static_cast<double>(group.rank()), at::kFloat);
            if (group.rank() == place) own[3].fill_(std::numeric_limits<double>::quiet_NaN());
            const at::Tensor tensor = own.to(device());
            all_reduce(group, tensor, Reduction::max).wait();
            EXPECT_TRUE(std::isnan(tensor[3].item<float>()));
            EXPECT_EQ(tensor[2].item<double>(), group.size() - 1);
        }
    });
}

TEST_P(EveryBackend, ManyOperationsInFlightOnSeveralGroupsComeBackRight) {
    on_ranks([&](Communicator& world) {
        const auto reversed = world.split(0, -world.rank(), "reversed");
        const auto parity = world.split(world.rank() % 2, world.rank(), "parity");
        const std::vector<Communicator*> groups{&world, reversed.get(), parity.get()};
        struct Member {
            std::vector<int> ranks;  // in the world
        };
        std::vector<Member> members(3);
        for (int rank = 0; rank < world.size(); ++rank) {
            members[0].ranks.push_back(rank);
            members[1].ranks.insert(members[1].ranks.begin(), rank);
            if (rank % 2 == world.rank() % 2) members[2].ranks.push_back(rank);
        }
        for (int round = 0; round < 6; ++round) {
            std::mt19937 same(round), own(1000 * round + world.rank());  // the first draws alike on all ranks
            struct Pending {
                Work work;
                at::Tensor actual, expected;
                int operation;
            };
            std::vector<Pending> pending;
            for (int operation = 0; operation < 40; ++operation) {
                const int which = static_cast<int>(same() % 3), kind = static_cast<int>(same() % 6);
                const std::int64_t size = same() % 4 == 0 ? 30'000 + same() % 30'000 : 1 + same() % 500;
                const auto dtype = dtypes_that_add()[same() % dtypes_that_add().size()];
                Communicator& group = *groups[which];
                const int ranks = group.size(), rank = group.rank();
                const auto make = [&](int group_rank, std::int64_t numel) {
                    return random(numel, dtype, 10'000 * round + 100 * operation + members[which].ranks[group_rank]);
                };
                Tensors terms;
                for (int other = 0; other < ranks; ++other) terms.push_back(make(other, size));
                if (kind == 0) {
                    const at::Tensor tensor = terms[rank].clone();
                    pending.push_back({all_reduce(group, tensor), tensor, sum_of(terms), operation});
                } else if (kind == 1) {
                    const at::Tensor output = unset(ranks * size, dtype);
                    pending.push_back({group.all_gather(output, terms[rank]), output, joined(terms), operation});
                } else if (kind == 2) {
                    Tensors inputs;
                    for (int other = 0; other < ranks; ++other) inputs.push_back(make(other, ranks * size));
                    const at::Tensor output = unset(size, dtype);
                    pending.push_back({reduce_scatter(group, output, inputs[rank]), output,
                                       pieces_of(sum_of(inputs), ranks)[rank], operation});
                } else if (kind == 3) {
                    const at::Tensor tensor = terms[rank].clone();
                    const int root = operation % ranks;
                    pending.push_back({group.broadcast(tensor, root), tensor, terms[root], operation});
                } else if (ranks > 1) {
                    const int next = (rank + 1) % ranks, previous = (rank + ranks - 1) % ranks;
                    const at::Tensor tensor = unset(size, dtype);
                    const auto send = [&] {
                        pending.push_back({group.send(terms[rank], next), terms[rank], make(rank, size), operation});
                    };
                    if (rank % 2 == 0) send();  // around a ring, not all may receive first, and not all send
                    pending.push_back({group.receive(tensor, previous), tensor, terms[previous], operation});
                    if (rank % 2 == 1) send();
                }
                if (own() % 3 == 0) world.progress();
                if (own() % 5 == 0 && !pending.empty()) pending[own() % pending.size()].work.test();
            }
            std::shuffle(pending.begin(), pending.end(), own);
            for (auto& [work, actual, expected, operation] : pending) {
                work.wait();
                EXPECT_TRUE(work.test());
                EXPECT_TRUE(same_bits(actual, expected)) << "operation " << operation << " of round " << round;
            }
        }
    });
}

TEST_P(EveryBackend, SplitsOrderByKeyThenRank) {
    on_ranks([&](Communicator& world) {
        const int ranks = world.size(), rank = world.rank();
        const auto reversed = world.split(7, -rank, "reversed");
        EXPECT_EQ(reversed->rank(), ranks - 1 - rank);
        EXPECT_EQ(reversed->size(), ranks);
        EXPECT_EQ(reversed->name(), "reversed");
        const auto alone = world.split(rank, 0, "alone");
        EXPECT_EQ(alone->rank(), 0);
        EXPECT_EQ(alone->size(), 1);
        alone->barrier();
        const auto halves = world.split(rank < (ranks + 1) / 2 ? 0 : 1, 5, "half");
        EXPECT_EQ(halves->rank(), rank < (ranks + 1) / 2 ? rank : rank - (ranks + 1) / 2);
        const auto again = halves->split(0, -halves->rank(), "half reversed");
        EXPECT_EQ(again->rank(), halves->size() - 1 - halves->rank());
        const at::Tensor sum = full(1, rank, at::kLong);
        all_reduce(*again, sum).wait();
        std::int64_t expected = 0;
        for (int other = 0; other < ranks; ++other)
            if ((other < (ranks + 1) / 2) == (rank < (ranks + 1) / 2)) expected += other;
        EXPECT_EQ(sum.item<std::int64_t>(), expected);
        world.barrier();
    });
}

TEST_P(EveryBackend, WrongArgumentsAreRefusedByASentenceAndLeaveEverythingUsable) {
    on_ranks([&](Communicator& group) {
        const int ranks = group.size(), rank = group.rank();
        const at::Tensor eight = unset(8, at::kFloat), slanted = unset(16, at::kFloat).view({4, 4}).t();
        const auto refused = [&](const std::function<Work()>& call, const std::string& words) {
            try {
                call().wait();
                ADD_FAILURE() << "accepted: " << words;
            } catch (const std::logic_error& error) {
                EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
                EXPECT_NE(std::string(error.what()).find(group.name()), std::string::npos) << error.what();
            }
        };
        refused([&] { return group.send(eight, ranks); }, "the peer is rank " + std::to_string(ranks));
        refused([&] { return group.receive(eight, -1); }, "the peer is rank -1");
        refused([&] { return group.send(eight, rank); }, "this rank itself");
        refused([&] { return group.send(slanted, 0); }, "contiguous");
        refused([&] { return group.receive({}, 0); }, "no tensor");
        refused([&] { return group.all_gather(eight, unset(8 * ranks + 1, at::kFloat)); }, "elements");
        refused([&] { return group.all_gather(unset(8 * ranks, at::kDouble), eight); }, "Double");
        refused([&] { return group.all_to_all(eight, unset(9, at::kFloat)); }, "9 elements");
        refused([&] { return group.all_to_all(eight, eight); }, ranks == 3 ? "multiple" : "overlap");
        refused([&] { return group.broadcast(eight, ranks); }, "the root is rank");
        refused([&] { return all_reduce(group, slanted); }, "contiguous");
        refused([&] { return all_reduce(group, unset(8, at::kByte)); }, "cannot reduce Byte");
        refused([&] { return reduce_scatter(group, eight, unset(8 * ranks + 3, at::kFloat)); }, "elements");
        if (ranks > 1) {
            const at::Tensor whole = unset(8 * ranks, at::kFloat);
            const at::Tensor foreign = whole.narrow(0, 8 * ((rank + 1) % ranks), 8);
            refused([&] { return reduce_scatter(group, foreign, whole); }, "own piece");
        }
        EXPECT_THROW(group.split(-1, 0, "none"), std::logic_error);
        const at::Tensor ones = full(3, 1, at::kFloat);
        all_reduce(group, ones).wait();
        EXPECT_EQ(ones[2].item<double>(), ranks);
    });
}

TEST_P(EveryBackend, GroupsOfOneDoNothingButCopy) {
    on_ranks([&](Communicator& world) {
        const auto alone = world.split(world.rank(), 0, "alone");
        const at::Tensor input = random(33, at::kBFloat16, 1);
        for (const int operation : {0, 1, 2}) {
            const at::Tensor output = unset(33, at::kBFloat16);
            Work work = operation == 0 ? alone->all_gather(output, input)
                                       : (operation == 1 ? alone->all_to_all(output, input)
                                                         : reduce_scatter(*alone, output, input));
            work.wait();
            EXPECT_TRUE(same_bits(output, input));
        }
        const at::Tensor tensor = input.clone();
        EXPECT_TRUE(all_reduce(*alone, tensor).test());
        alone->broadcast(tensor, 0).wait();
        EXPECT_TRUE(same_bits(tensor, input));
        world.barrier();
    });
}

}  // namespace smp::comms
