// What one rank's tensors take, by category, as they are allocated and freed.
//
// On the CPU, LibTorch's allocator is wrapped once a process: an allocation made under a MemoryMeter::Scope of its
// thread belongs to that meter until it is freed, on whatever thread; all others are nobody's. Ranks that are threads
// of one process have a meter each. LibTorch caches nothing on the CPU, so that live bytes are those asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include "partition/foresight/memory_use.h"
#include "partition/plan/action.h"

namespace smp::runtime {

class MemoryMeter {
  public:
    /// Beyond `limit_bytes` of device memory an allocation throws MemoryError, which says what was being done, which
    /// category has grown most since reset_peaks() and what each one holds. So does, with what each one holds, an
    /// allocation that the system refuses, be it anybody's.
    explicit MemoryMeter(std::optional<std::int64_t> limit_bytes = std::nullopt);

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
    /// What is being done, for the error; null for nothing. It must live until the next one is set.
    void set_action(const partition::Action* action);
    /// Its name; empty for nothing.
    std::string doing() const;

    class Account;

  private:
    std::shared_ptr<Account> account_;
};

}  // namespace smp::runtime
