// What one rank's tensors take, by category, as they are allocated and freed.
//
// On the CPU, LibTorch's allocator is wrapped once a process: an allocation made under a MemoryMeter::Scope of its
// thread belongs to that meter until it is freed, on whatever thread; all others are nobody's. Ranks that are threads
// of one process have a meter each. LibTorch caches nothing on the CPU, so that live bytes are those asked for; so they
// are on CUDA, where its caching allocator tells of what it gives and takes, in the order in which work is issued. What
// that allocator rounds up and keeps is not counted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "partition/foresight/memory_use.h"
#include "partition/plan/action.h"

namespace smp::runtime {

class MemoryMeter {
  public:
    /// Beyond `limit_bytes` of device memory an allocation throws MemoryError, which says what was being done, which
    /// category has grown most since reset_peaks() and what each one holds. So does, with what each one holds, an
    /// allocation that the system refuses, be it anybody's.
    explicit MemoryMeter(std::optional<std::int64_t> limit_bytes = std::nullopt);

    /// Counts what is allocated on CUDA devices, too, from now on. There the limit is looked at between actions:
    /// set_action() throws.
    void count_device_allocations();
    /// Bytes that no allocator tells of, for as long as the meter lives.
    void count(partition::MemoryCategory category, std::int64_t bytes);
    /// Calls `f`. Where a CUDA device refuses memory, throws MemoryError as for the CPU.
    template <class F>
    auto with_device_memory(const F& f) const {
        try {
            return f();
        } catch (const c10::OutOfMemoryError&) {  // its text is of LibTorch's settings
            device_refuses();
        }
    }

    /// While it lives, what its thread allocates counts in `category`. Scopes nest.
    class Scope {
      public:
        Scope(const MemoryMeter& meter, partition::MemoryCategory category);
        ~Scope();
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        struct Previous;
        std::unique_ptr<Previous> previous_;
    };

    /// Counts a tensor's whole storage in `category` from now on. Nothing for what is not this meter's.
    void move(const at::Tensor& tensor, partition::MemoryCategory category);
    /// The same for what was allocated as `other` and has not been moved yet: the results of an action, told from what
    /// it was given.
    void settle(const at::Tensor& tensor, partition::MemoryCategory category);

    partition::MemoryUse use() const;
    /// From now on peaks and growth are counted from what is live now.
    void reset_peaks();
    /// What is being done, for the error; null for nothing. It must live until the next one is set. Throws MemoryError
    /// where what was done before went beyond the limit on a CUDA device.
    void set_action(const partition::Action* action);
    /// Its name; empty for nothing. From any thread.
    std::string doing() const;

    class Account;

  private:
    [[noreturn]] void device_refuses() const;

    std::shared_ptr<Account> account_;
};

}  // namespace smp::runtime
