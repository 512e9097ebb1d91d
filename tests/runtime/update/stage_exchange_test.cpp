// If these fail, a bucket's sum lands in another bucket, touches a chunk that others still add to, or values that
// others have updated are not fetched.
#include "runtime/update/stage_exchange.h"

#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/gpt2/gpt2.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using partition::Action;
using partition::ActionKind;
using partition::BucketId;
using partition::ChunkId;

constexpr std::int64_t kBucket = 3 * 128;  // a multiple of what two shards are cut by

models::Model model() {
    models::Gpt2Options options;
    options.n_layer = 4;
    options.n_head = 2;
    options.n_embd = 8;
    options.n_positions = 6;
    options.vocab_size = 31;
    return models::gpt2(options);
}

/// Two chunks on one stage, two replicas, small buckets.
partition::Plan plan() {
    partition::ParallelOptions parallel;
    parallel.virtual_pipeline_degree = 2;
    const auto graph = models::module_graph(*model().spec, {.sequences = 1, .length = 6});
    partition::Plan plan = partition::make_plan(graph, parallel, {.pp = 1, .tp = 1, .rdp = 2}, 1);
    for (partition::FlatSection& section : plan.sections) section.bucket_elements = kBucket;
    return plan;
}

void fill(const at::Tensor& flat, int seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < flat.numel(); ++i) flat.data_ptr<float>()[i] = normal(random);
}

/// What a rank has in a test.
struct Rank {
    Rank(comms::Communicator& world, bool sharded)
        : of_plan(plan()),
          groups(make_groups(of_plan, world)),
          stage(model(), of_plan, groups, meter, {}, at::kCPU),
          exchange(groups, stage, meter, of_plan.training.front(), sharded) {}

    /// Those of all buckets of a chunk, in order.
    template <typename Do>
    void for_each_bucket(ActionKind kind, ChunkId chunk, Do act) {
        std::vector<comms::Work> works;
        for (const BucketId bucket : of_plan.sections[chunk].bucket_ids())
            works.push_back(act(Action{.kind = kind, .chunk = chunk, .bucket = bucket}));
        EXPECT_GE(works.size(), 3U);
        for (comms::Work& work : works) work.wait();
    }
    void reduce(ChunkId chunk) {
        for_each_bucket(ActionKind::reduce_gradients, chunk,
                        [&](const Action& action) { return exchange.reduce_gradients(action); });
    }
    void gather(ChunkId chunk) {
        for_each_bucket(ActionKind::gather_parameters, chunk,
                        [&](const Action& action) { return exchange.gather_parameters(action); });
    }

    partition::Plan of_plan;
    RankGroups groups;
    MemoryMeter meter;
    Stage stage;
    StageExchange exchange;
};

at::Tensor sum_of_both(const at::Tensor& like) {
    at::Tensor first = at::empty_like(like), second = at::empty_like(like);
    fill(first, 0);
    fill(second, 1);
    return first + second;
}

TEST(StageExchange, SumsTheBucketsOfAChunkAndTouchesNoOther) {
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Rank rank(world, /*sharded=*/false);
        const at::Tensor& gradients = rank.stage.flat_gradients();
        const at::Tensor sum = sum_of_both(gradients);
        fill(gradients, world.rank());
        const at::Tensor own = gradients.clone();
        const std::int64_t first_end = rank.of_plan.sections[ChunkId(0)].elements;
        const auto first = [&](const at::Tensor& flat) { return flat.narrow(0, 0, first_end); };
        rank.reduce(ChunkId(1));
        EXPECT_TRUE(first(gradients).equal(first(own)));
        rank.reduce(ChunkId(0));
        EXPECT_TRUE(gradients.equal(sum));
    });
}

TEST(StageExchange, ReducesToTheOwnersAndGathersFromThemOnceAnUpdate) {
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Rank rank(world, /*sharded=*/true);
        const at::Tensor& gradients = rank.stage.flat_gradients();
        const at::Tensor sum = sum_of_both(gradients);
        fill(gradients, world.rank());
        const auto owned = rank.stage.layout().owned(world.rank());
        for (const ChunkId chunk : {ChunkId(1), ChunkId(0)}) rank.reduce(chunk);
        for (const Range& piece : owned) {
            const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, piece.begin, piece.size()); };
            ASSERT_TRUE(part(gradients).equal(part(sum))) << piece.begin;
        }
        EXPECT_FALSE(gradients.equal(sum));

        // Each has its own pieces of what all shall have.
        const at::Tensor& values = rank.stage.flat_values();
        const auto spoil = [&] {
            values.fill_(-1);
            for (const Range& piece : owned)
                values.narrow(0, piece.begin, piece.size()).copy_(sum.narrow(0, piece.begin, piece.size()));
        };
        spoil();
        rank.gather(ChunkId(0));  // nobody has updated anything
        EXPECT_FALSE(values.equal(sum));
        rank.exchange.values_updated();
        for (const ChunkId chunk : {ChunkId(0), ChunkId(1)}) rank.gather(chunk);
        EXPECT_TRUE(values.equal(sum));
        spoil();
        for (const ChunkId chunk : {ChunkId(0), ChunkId(1)}) rank.gather(chunk);  // they are as they were
        EXPECT_FALSE(values.equal(sum));
    });
}

TEST(StageExchange, RefusesABucketThatIsNotThere) {
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        Rank rank(world, /*sharded=*/false);
        EXPECT_THROW(
            rank.exchange
                .reduce_gradients({.kind = ActionKind::reduce_gradients, .chunk = ChunkId(0), .bucket = BucketId(999)})
                .wait(),
            std::logic_error);
    });
}

}  // namespace
}  // namespace smp::runtime
