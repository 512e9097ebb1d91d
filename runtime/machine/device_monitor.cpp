#include "runtime/machine/device_monitor.h"

#include <algorithm>
#include <cmath>
#include <dlfcn.h>
#include <pthread.h>

namespace smp::runtime {

namespace {

// Of nvml.h, which comes with CUDA's toolkit: types and numbers as NVML's ABI has them.
using Device = void*;
constexpr int kSuccess = 0;
constexpr int kGpuSensor = 0;
struct MemoryInfo {
    unsigned long long total, free, used;
};
struct Utilization {
    unsigned int gpu, memory;  // percent
};

void take_larger(double& most, double value) { most = std::isnan(most) ? value : std::max(most, value); }

}  // namespace

class DeviceMonitor::Library {
  public:
    /// Null where it cannot be opened, lacks a function or finds no device.
    static std::unique_ptr<Library> open(const std::string& name) {
        auto library = std::unique_ptr<Library>(new Library(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)));
        return library->count_ > 0 ? std::move(library) : nullptr;
    }
    ~Library() {
        if (is_started_) shutdown_();
        if (handle_ != nullptr) ::dlclose(handle_);
    }
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

    int devices() const { return static_cast<int>(count_); }
    DeviceReading read() const {
        DeviceReading reading;
        for (unsigned int i = 0; i < count_; ++i) {
            Device device = nullptr;
            if (device_(i, &device) != kSuccess) continue;
            MemoryInfo memory{};
            if (memory_(device, &memory) == kSuccess)
                take_larger(reading.memory_bytes, static_cast<double>(memory.used));
            Utilization utilization{};
            if (utilization_(device, &utilization) == kSuccess)
                take_larger(reading.utilization, 0.01 * utilization.gpu);
            unsigned int milliwatts = 0, celsius = 0;
            if (power_(device, &milliwatts) == kSuccess) take_larger(reading.power_watts, 1e-3 * milliwatts);
            if (temperature_(device, kGpuSensor, &celsius) == kSuccess)
                take_larger(reading.temperature_celsius, celsius);
        }
        return reading;
    }

  private:
    explicit Library(void* handle) : handle_(handle) {
        const bool whole = handle_ != nullptr && find(init_, "nvmlInit_v2") && find(shutdown_, "nvmlShutdown") &&
                           find(device_count_, "nvmlDeviceGetCount_v2") &&
                           find(device_, "nvmlDeviceGetHandleByIndex_v2") && find(memory_, "nvmlDeviceGetMemoryInfo") &&
                           find(utilization_, "nvmlDeviceGetUtilizationRates") &&
                           find(power_, "nvmlDeviceGetPowerUsage") && find(temperature_, "nvmlDeviceGetTemperature");
        if (!whole || init_() != kSuccess) return;
        is_started_ = true;
        if (device_count_(&count_) != kSuccess) count_ = 0;
    }
    template <typename Function>
    bool find(Function*& function, const char* name) {
        function = reinterpret_cast<Function*>(::dlsym(handle_, name));
        return function != nullptr;
    }

    void* handle_;
    bool is_started_ = false;
    unsigned int count_ = 0;
    int (*init_)() = nullptr;
    int (*shutdown_)() = nullptr;
    int (*device_count_)(unsigned int*) = nullptr;
    int (*device_)(unsigned int, Device*) = nullptr;
    int (*memory_)(Device, MemoryInfo*) = nullptr;
    int (*utilization_)(Device, Utilization*) = nullptr;
    int (*power_)(Device, unsigned int*) = nullptr;
    int (*temperature_)(Device, int, unsigned int*) = nullptr;
};

DeviceMonitor::DeviceMonitor(const std::string& library, std::chrono::milliseconds every)
    : library_(Library::open(library)) {
    if (!library_) return;
    latest_ = library_->read();
    thread_ = std::thread([this, every] { run(every); });
}

DeviceMonitor::~DeviceMonitor() {
    {
        const std::lock_guard lock(mutex_);
        stops_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
}

int DeviceMonitor::devices() const { return library_ ? library_->devices() : 0; }

DeviceReading DeviceMonitor::latest() const {
    const std::lock_guard lock(mutex_);
    return latest_;
}

void DeviceMonitor::run(std::chrono::milliseconds every) {
    pthread_setname_np(pthread_self(), "smp devices");
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, every, [this] { return stops_; })) {
        lock.unlock();
        const DeviceReading reading = library_->read();
        lock.lock();
        latest_ = reading;
    }
}

}  // namespace smp::runtime
