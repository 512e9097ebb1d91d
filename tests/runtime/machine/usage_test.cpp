// If these fail, the metrics say wrong things of memory, processors or devices, or nothing.
#include "runtime/machine/usage.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/machine/device_monitor.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

TEST(Usage, ResidentMemoryGrowsWithWhatIsTouched) {
    constexpr std::int64_t kBytes = std::int64_t{96} << 20;
    const std::int64_t before = resident_bytes().value();
    const std::vector<char> touched(kBytes, 'x');
    EXPECT_GE(resident_bytes().value() - before, kBytes / 4 * 3) << touched.size();
}

TEST(Usage, MemoryOfTheNodeIsWhatIsNotAvailable) {
    const testing::ScratchFolder folder;
    EXPECT_EQ(node_memory_bytes({.proc = folder.path()}), std::nullopt);
    EXPECT_EQ(resident_bytes({.proc = folder.path()}), std::nullopt);
    folder.write("meminfo", "MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    300 kB\n");
    EXPECT_EQ(node_memory_bytes({.proc = folder.path()}), 700 * 1024);
    EXPECT_GE(node_memory_bytes().value(), 0);
}

TEST(Usage, ProcessorsTimeIsThatOfAllThreads) {
    const double before = cpu_seconds();
    std::thread([&] {
        while (cpu_seconds() < before + 0.02) {}
    }).join();
    EXPECT_GE(cpu_seconds(), before + 0.02);
}

TEST(DeviceMonitor, KnowsNothingWithoutALibraryOrItsFunctions) {
    for (const char* library : {"libno-such-library.so.1", "libm.so.6"}) {
        const DeviceMonitor monitor(library);
        EXPECT_EQ(monitor.devices(), 0);
        EXPECT_TRUE(std::isnan(monitor.latest().memory_bytes));
        EXPECT_TRUE(std::isnan(monitor.latest().power_watts));
    }
}

TEST(DeviceMonitor, ReadsTheLargestOfAllDevicesAgainAndAgain) {
    const DeviceMonitor monitor(SMP_BINARY_DIR "/bin/libsmp_fake_nvml.so", std::chrono::milliseconds(1));
    ASSERT_EQ(monitor.devices(), 2);
    const DeviceReading first = monitor.latest();
    EXPECT_EQ(first.memory_bytes, 20.0 * (1 << 30));
    EXPECT_DOUBLE_EQ(first.utilization, 0.75);
    EXPECT_DOUBLE_EQ(first.power_watts, 123.456);
    EXPECT_GE(first.temperature_celsius, 41);
    while (monitor.latest().temperature_celsius < first.temperature_celsius + 3)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace
}  // namespace smp::runtime
