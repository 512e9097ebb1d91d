// If these fail, a job that is bound or throttled to few processors is not told so, or one that is free is.
#include "runtime/machine/processors.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

RC_GTEST_PROP(Processors, ListsComeBackFromTheirText, ()) {
    const auto drawn = *rc::gen::container<std::set<int>>(rc::gen::inRange(0, 300));
    const std::vector<int> numbers(drawn.begin(), drawn.end());
    RC_ASSERT(from_ranges(to_ranges(numbers)) == numbers);
}

RC_GTEST_PROP(Processors, NoTextIsMoreThanRefused, (const std::string& text)) {
    if (const auto numbers = from_ranges(text))
        for (const int number : *numbers) RC_ASSERT(number >= 0);
}

TEST(Processors, ListsAreWrittenAsTheKernelWritesThem) {
    EXPECT_EQ(to_ranges(std::vector{0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
    EXPECT_EQ(from_ranges("0-3,8,10-11"), (std::vector{0, 1, 2, 3, 8, 10, 11}));
    EXPECT_EQ(from_ranges(""), std::vector<int>{});
    for (const char* text : {"3-1", "1,", ",1", "1-", "-1", "a", "1 2", "0-99999999999"})
        EXPECT_EQ(from_ranges(text), std::nullopt) << text;
}

// What is set is what is read, on the thread that it is set for.
TEST(Processors, AreThoseOfTheThreadsAffinity) {
    const std::vector<int> before = allowed_cores();
    ASSERT_FALSE(before.empty());
    std::thread([&] {
        for (const int core : {before.front(), before.back()}) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(core, &one);
            ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
            EXPECT_EQ(allowed_cores(), std::vector{core});
        }
    }).join();
    EXPECT_EQ(allowed_cores(), before);
    EXPECT_GE(cores_of_machine(), 1);
}

class CpuQuota : public ::testing::Test {
  protected:
    void write(const std::string& name, const std::string& content) const {
        std::filesystem::create_directories((folder_ / name).parent_path());
        std::ofstream(folder_ / name) << content;
    }
    std::optional<double> quota() const { return cpu_quota({.proc = folder_ / "proc", .cgroups = folder_ / "cgroup"}); }
    testing::ScratchFolder folder_;
};

TEST_F(CpuQuota, IsThatOfTheTightestGroup) {
    EXPECT_EQ(quota(), std::nullopt);
    write("proc/self/cgroup", "0::/jobs/mine\n");
    write("cgroup/jobs/mine/cpu.max", "max 100000\n");
    EXPECT_EQ(quota(), std::nullopt);
    write("cgroup/jobs/cpu.max", "400000 100000\n");
    EXPECT_EQ(quota(), 4.0);
    write("cgroup/cpu.max", "75000 50000\n");  // in a container the group's path may not be there, its root is
    EXPECT_EQ(quota(), 1.5);
}

TEST_F(CpuQuota, OfTheFirstVersionOfGroupsToo) {
    write("proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n");
    write("cgroup/cpu/docker/abc/cpu.cfs_quota_us", "-1\n");
    write("cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(quota(), std::nullopt);
    write("cgroup/cpu/docker/abc/cpu.cfs_quota_us", "250000\n");
    EXPECT_EQ(quota(), 2.5);
}

TEST(OpenMpBinding, IsWhatTheEnvironmentAsksFor) {
    const auto with = [](const char* name, const char* value) {
        for (const char* other : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"}) ::unsetenv(other);
        if (name != nullptr) ::setenv(name, value, 1);
        const std::string binding = openmp_binding();
        if (name != nullptr) ::unsetenv(name);
        return binding;
    };
    EXPECT_EQ(with(nullptr, ""), "");
    EXPECT_EQ(with("OMP_PROC_BIND", "close"), "OMP_PROC_BIND=close");
    EXPECT_EQ(with("OMP_PROC_BIND", "FALSE"), "");
    EXPECT_EQ(with("OMP_PLACES", "cores"), "OMP_PLACES=cores");
    EXPECT_EQ(with("GOMP_CPU_AFFINITY", "0-3"), "GOMP_CPU_AFFINITY=0-3");
}

}  // namespace
}  // namespace smp::runtime
