// What the GPUs of this host do, as NVIDIA's management library (NVML) says it. The library is opened when it is
// wanted: hosts without GPUs have none.
#pragma once

#include <chrono>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace smp::runtime {

/// Of all devices the largest; NaN: not known. All programs that use them count.
struct DeviceReading {
    static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    double memory_bytes = kUnknown;
    double utilization = kUnknown;  // from 0 to 1: of NVML's last sampling period, a kernel was running
    double power_watts = kUnknown;
    double temperature_celsius = kUnknown;
};

/// Reads all devices again and again, on a thread of its own, since that can take milliseconds. Where there is no
/// library or no device it has no thread, and knows nothing.
class DeviceMonitor {
  public:
    /// Has read once when it is made. `library` as for dlopen.
    explicit DeviceMonitor(const std::string& library = "libnvidia-ml.so.1",
                           std::chrono::milliseconds every = std::chrono::seconds(1));
    ~DeviceMonitor();
    DeviceMonitor(const DeviceMonitor&) = delete;
    DeviceMonitor& operator=(const DeviceMonitor&) = delete;

    int devices() const;
    /// No older than `every` and a reading take.
    DeviceReading latest() const;

  private:
    class Library;

    void run(std::chrono::milliseconds every);

    std::unique_ptr<Library> library_;  // null: none that works
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool stops_ = false;
    DeviceReading latest_;
    std::thread thread_;
};

}  // namespace smp::runtime
