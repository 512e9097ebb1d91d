// If these fail, a rank computes on another's GPU, or a job that could not have its GPUs trains without saying so.
#include "runtime/agreement/devices.h"

#include <gmock/gmock.h>

#include "partition/job/problem.h"

namespace smp::runtime {
namespace {

using partition::ClusterOptions;
using partition::Device;
using testing::HasSubstr;

ClusterOptions on(Device device, bool share = false) {
    ClusterOptions cluster;
    cluster.device = device;
    cluster.share_devices = share;
    return cluster;
}

std::vector<std::string> devices_of(const std::vector<Placement>& placements) {
    std::vector<std::string> names;
    for (const Placement& placement : placements)
        names.push_back(placement.device.str() + (placement.is_shared ? " shared" : ""));
    return names;
}

std::string refusal_of(const DevicesOfRanks& ranks, const ClusterOptions& cluster) {
    try {
        placements(ranks, cluster);
    } catch (const partition::ConfigError& error) {
        return error.what();
    }
    return "not refused";
}

using Seen = std::vector<std::string>;

const DevicesOfRanks kTwoHosts{.hosts = {"a", "b", "a", "b"},
                               .cuda_devices = {{"0", "1"}, {"0", "1", "2"}, {"0", "1"}, {"0", "1", "2"}}};

TEST(DevicesOfRanks, AreTakenInTheOrderOfAHostsRanks) {
    const std::vector<std::string> expected = {"cuda:0", "cuda:0", "cuda:1", "cuda:1"};
    EXPECT_EQ(devices_of(placements(kTwoHosts, on(Device::cuda))), expected);
    EXPECT_EQ(devices_of(placements(kTwoHosts, {})), expected);
    EXPECT_EQ(devices_of(placements(kTwoHosts, on(Device::cpu))), std::vector<std::string>(4, "cpu"));
}

// As srun --gpus-per-task=1 does: each sees its own alone, as number 0.
TEST(DevicesOfRanks, AreTheirOwnWhereALauncherHasHandedThemOut) {
    const DevicesOfRanks ranks{.hosts = {"a", "a", "b"}, .cuda_devices = {{"x"}, {"y"}, {"x"}}};
    EXPECT_EQ(devices_of(placements(ranks, on(Device::cuda))), std::vector<std::string>(3, "cuda:0"));
}

TEST(DevicesOfRanks, AutomaticallyAllComputeAlike) {
    DevicesOfRanks ranks = kTwoHosts;
    ranks.cuda_devices[1] = {};
    EXPECT_EQ(devices_of(placements(ranks, {})), std::vector<std::string>(4, "cpu"));
    ranks.cuda_devices[1] = ranks.cuda_devices[3] = {"0"};
    EXPECT_EQ(devices_of(placements(ranks, {})), std::vector<std::string>(4, "cpu"));
}

TEST(DevicesOfRanks, WhatIsAskedForAndNotThereIsRefused) {
    DevicesOfRanks ranks = kTwoHosts;
    ranks.cuda_devices[1] = ranks.cuda_devices[3] = {};
    EXPECT_THAT(refusal_of(ranks, on(Device::cuda)), HasSubstr("rank 1 (host b) sees no CUDA device"));
    ranks.cuda_devices[1] = ranks.cuda_devices[3] = {"0"};
    EXPECT_THAT(refusal_of(ranks, on(Device::cuda)),
                HasSubstr("host b has 2 ranks, and rank 3 finds no CUDA device that is not another's (it sees 1)"));
}

TEST(DevicesOfRanks, TakeTurnsWhereTheyMay) {
    const DevicesOfRanks threads{
        .hosts = {"a", "a", "a"}, .cuda_devices = std::vector<Seen>(3, {"0", "1"}), .are_threads = true};
    EXPECT_EQ(devices_of(placements(threads, on(Device::cuda, /*share=*/true))),
              (std::vector<std::string>{"cuda:0 shared", "cuda:1 shared", "cuda:0 shared"}));
    DevicesOfRanks processes = threads;
    processes.are_threads = false;  // NCCL is asked, which refuses it for most
    EXPECT_EQ(devices_of(placements(processes, on(Device::cuda, /*share=*/true))),
              (std::vector<std::string>{"cuda:0", "cuda:1", "cuda:0"}));
}

}  // namespace
}  // namespace smp::runtime
