// If these fail, a container's memory limit is not seen, and its ranks are killed without a word.
#include "launch/plan/machine_memory.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/programs/program.h"

namespace smp::launch {
namespace {

class MachineMemory : public ::testing::Test {
  protected:
    MachineMemory() {
        write("proc/meminfo", "MemTotal:       999 kB\nMemAvailable:   400 kB\nSwapFree:       100 kB\n");
    }

    void write(const std::string& name, const std::string& content) const {
        std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
        std::ofstream(folder_ / name) << content;
    }
    std::optional<std::int64_t> available() const {
        return available_memory({.proc = folder_ / "proc", .cgroups = folder_ / "cgroup"});
    }

    testing::Folder folder_;
};

TEST_F(MachineMemory, IsWhatTheMachineHasAvailableWithItsSwap) { EXPECT_EQ(available(), 500 * 1024); }

TEST_F(MachineMemory, IsWhatTheTightestGroupLeaves) {
    write("proc/self/cgroup", "0::/jobs/mine\n");
    write("cgroup/jobs/mine/memory.max", "max\n");
    write("cgroup/jobs/mine/memory.current", "5000\n");
    EXPECT_EQ(available(), 500 * 1024);
    write("cgroup/jobs/memory.max", "100000\n");
    write("cgroup/jobs/memory.current", "70000\n");
    write("cgroup/jobs/memory.stat", "anon 1\ninactive_file 2000\nactive_file 300\n");
    EXPECT_EQ(available(), 100000 - 70000 + 2300);
    write("cgroup/memory.max", "9000\n");  // in a container the group's path may not be there, its root is
    write("cgroup/memory.current", "9500\n");
    EXPECT_EQ(available(), 0);
}

TEST_F(MachineMemory, OfTheFirstVersionOfGroupsToo) {
    write("proc/self/cgroup", "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n");
    write("cgroup/memory/docker/abc/memory.limit_in_bytes", "300000\n");
    write("cgroup/memory/docker/abc/memory.usage_in_bytes", "100000\n");
    EXPECT_EQ(available(), 200000);
}

TEST_F(MachineMemory, NothingIsClaimedWhereNothingIsKnown) {
    std::filesystem::remove_all(folder_ / "proc");
    EXPECT_EQ(available(), std::nullopt);
}

}  // namespace
}  // namespace smp::launch
