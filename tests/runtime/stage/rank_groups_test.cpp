// If these fail, messages of two edges share a communicator, or ranks wait for communicators that others do not make.
#include "runtime/stage/rank_groups.h"

#include <stdexcept>
#include <vector>

#include <ATen/ops/full.h>
#include <gmock/gmock.h>

#include "tests/partition/small_jobs.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using partition::Edge;

partition::Plan plan_of(int stages, int tp, int rdp, int chunks) {
    auto options = partition::testing::options_of({.stages = stages, .microbatches = 3, .chunks_per_stage = chunks});
    options.tensor_parallel_degree = tp;
    return partition::make_plan(partition::testing::chain(stages * chunks + 1, /*tied=*/true), options,
                                {.pp = stages, .tp = tp, .rdp = rdp}, 1);
}

// Every edge at once, receives first: whatever the order, each tensor comes from the stage and the pipeline it should.
TEST(RankGroups, EachEdgeOfEachPipelineIsItsOwn) {
    for (const auto& [stages, tp, rdp, chunks] :
         {std::tuple{4, 1, 1, 1}, {2, 1, 2, 2}, {3, 2, 1, 2}, {5, 1, 2, 1}, {1, 2, 2, 1}}) {
        const partition::Plan plan = plan_of(stages, tp, rdp, chunks);
        const auto edges = partition::edges_of({&plan.training, &plan.evaluation, &plan.sampling});
        testing::on_local_ranks(stages * tp * rdp, [&](comms::Communicator& world) {
            RankGroups groups = make_groups(plan, world);
            const auto stage = groups.at.stage();
            const auto value = [&](const Edge& edge) {
                return 1000.0F * static_cast<float>(edge.channel) + 100.0F * static_cast<float>(edge.from.number()) +
                       10.0F * static_cast<float>(groups.at.tp) + static_cast<float>(groups.at.rdp);
            };
            std::vector<comms::Work> works;
            std::vector<std::pair<Edge, at::Tensor>> received;
            std::size_t own = 0;
            for (const Edge& edge : edges) {
                if (edge.from != stage && edge.to != stage) continue;
                ++own;
                EXPECT_EQ(groups.edges.at(edge)->size(), 2);
                EXPECT_EQ(groups.edges.at(edge)->name(), partition::name_of(edge));
                if (edge.to != stage) continue;
                received.emplace_back(edge, at::full({2}, 0.0F));
                works.push_back(groups.receive(edge, received.back().second));
            }
            EXPECT_EQ(groups.edges.size(), own);
            for (std::size_t i = edges.size(); i-- > 0;)
                if (edges[i].from == stage) works.push_back(groups.send(edges[i], at::full({2}, value(edges[i]))));
            for (comms::Work& work : works) work.wait();
            for (const auto& [edge, tensor] : received)
                EXPECT_TRUE(tensor.equal(at::full({2}, value(edge)))) << partition::name_of(edge);
        });
    }
}

TEST(RankGroups, AnEdgeThatThePlanDoesNotUseIsRefused) {
    const partition::Plan plan = plan_of(2, 1, 1, 1);
    testing::on_local_ranks(2, [&](comms::Communicator& world) {
        RankGroups groups = make_groups(plan, world);
        const Edge back{partition::Channel::activations, partition::StageId(1), partition::StageId(0)};
        EXPECT_THAT([&] { (void)groups.send(back, at::full({1}, 0.0F)); },
                    ::testing::ThrowsMessage<std::logic_error>(
                        ::testing::HasSubstr("no communicator of the edge activations 1 -> 0 on stage")));
    });
}

}  // namespace
}  // namespace smp::runtime
