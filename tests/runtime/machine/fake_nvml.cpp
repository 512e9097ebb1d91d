// Stands for libnvidia-ml.so: two devices, the second of which does not tell its power, as some do not.
#include <cstdint>

namespace {

struct MemoryInfo {
    unsigned long long total, free, used;
};
struct Utilization {
    unsigned int gpu, memory;
};
constexpr int kSuccess = 0, kNotSupported = 3;
bool is_started = false;
int readings = 0;

std::uintptr_t number_of(void* device) { return reinterpret_cast<std::uintptr_t>(device); }

}  // namespace

extern "C" {

int nvmlInit_v2() {
    is_started = true;
    return kSuccess;
}
int nvmlShutdown() {
    is_started = false;
    return kSuccess;
}
int nvmlDeviceGetCount_v2(unsigned int* count) {
    if (!is_started) return kNotSupported;
    *count = 2;
    return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** device) {
    *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index + 1));
    return kSuccess;
}
int nvmlDeviceGetMemoryInfo(void* device, MemoryInfo* memory) {
    *memory = {.total = 80ULL << 30, .free = 0, .used = (number_of(device) * 10ULL) << 30};
    return kSuccess;
}
int nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization) {
    *utilization = {.gpu = number_of(device) == 1 ? 75U : 50U, .memory = 99};
    return kSuccess;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned int* milliwatts) {
    if (number_of(device) == 2) return kNotSupported;
    *milliwatts = 123456;
    return kSuccess;
}
/// One degree more with each reading.
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned int* celsius) {
    if (sensor != 0) return kNotSupported;
    *celsius = 40 + static_cast<unsigned int>(number_of(device) == 2 ? ++readings : 0);
    return kSuccess;
}
}
