// Which of several tensors hold a number that is not finite, looked at where they lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "runtime/stage/rank_groups.h"

namespace smp::runtime {

class NonFiniteMarks {
  public:
    /// `count` marks, none set. `groups` must outlive it.
    NonFiniteMarks(const RankGroups& groups, std::size_t count);

    /// Sets mark `mark` where the floating, contiguous tensor of the rank's device has such a number: on CUDA in the
    /// order of the current stream, without the host.
    void look(std::size_t mark, const at::Tensor& tensor);
    /// The lowest mark that is set, or the highest; none: nullopt. On CUDA this waits for what was queued so far.
    std::optional<std::size_t> first() const;
    std::optional<std::size_t> last() const;

  private:
    /// All of them, in host memory.
    at::Tensor marks_here() const;

    const RankGroups& groups_;
    at::Tensor marks_;  // int32 [count] on the rank's device: 0 or 1
};

}  // namespace smp::runtime
