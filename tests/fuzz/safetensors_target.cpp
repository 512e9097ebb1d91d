#include <cstdint>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include "runtime/files/data_error.h"
#include "runtime/files/safetensors.h"
#include "tests/fuzz/targets.h"

namespace smp::testing {

namespace {

/// A file without a disk.
class MemoryFile {
  public:
    explicit MemoryFile(std::span<const std::byte> bytes) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
        if (file_ < 0 || ::write(file_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
            throw std::runtime_error("no file in memory");
    }
    ~MemoryFile() { ::close(file_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }

  private:
    int file_;
};

}  // namespace

void fuzz_safetensors(std::span<const std::byte> input) {
    const MemoryFile memory(input);
    try {
        const runtime::SafetensorsFile file(memory.path());
        std::size_t bytes = 0;
        unsigned sum = 0;
        for (const runtime::SafetensorsEntry& entry : file.entries()) {
            bytes += entry.bytes.size();
            for (const std::byte byte : entry.bytes) sum += static_cast<unsigned>(byte);
            if (entry.elements() < 0) throw std::logic_error("a shape has fewer elements than none");
            if (entry.dtype == runtime::SafetensorsType::other) continue;
            if (static_cast<std::size_t>(entry.elements()) * bytes_of(entry.dtype) != entry.bytes.size())
                throw std::logic_error("a tensor is not as large as its shape says");
        }
        volatile unsigned kept = sum;
        static_cast<void>(kept);
        if (bytes > input.size()) throw std::logic_error("tensors lie outside of the file, or on each other");
    } catch (const runtime::DataError&) {
        return;
    }
    // As a model's weights: what can be read as floats.
    try {
        std::vector<runtime::SafetensorsFile> files;
        files.emplace_back(memory.path());
        const runtime::Weights weights(memory.path(), std::move(files));
        for (const auto& [name, entry] : weights.entries()) {
            if (entry->dtype == runtime::SafetensorsType::other) continue;
            std::vector<float> values(static_cast<std::size_t>(entry->elements()));
            weights.read_float(*entry, 0, values);
        }
    } catch (const runtime::DataError&) {  // of a dtype that is none
    }
}

}  // namespace smp::testing
