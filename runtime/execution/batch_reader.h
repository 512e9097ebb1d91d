// The part of each global batch that one rank reads.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/segment.h"
#include "partition/job/topology.h"
#include "partition/plan/plan.h"
#include "runtime/data/dataset.h"

namespace smp::runtime {

/// How a global batch is cut: contiguous runs first over data-parallel ranks, then over microbatches.
struct BatchCut {
    std::int64_t global_batch = 0;  // sequences
    std::int64_t length = 0;        // T
    int replicas = 1;               // data-parallel degree
    int replica = 0;                // this rank's position on it
    int microbatches = 1;

    std::int64_t microbatch_sequences() const { return global_batch / replicas / microbatches; }
    /// Position in the global batch of the first sequence of a microbatch.
    std::int64_t first_sequence(int microbatch) const {
        return replica * (global_batch / replicas) + microbatch * microbatch_sequences();
    }
};

/// Who asks for tokens: stages in the middle of the pipeline need none.
struct TokenNeeds {
    bool inputs = false;   // the first module lives here
    bool targets = false;  // the last module lives here
};
TokenNeeds token_needs(const partition::Plan& plan, const partition::Coordinate& at);

/// Reads what one rank needs of global batches, and the next one while a device is at work. Throws what the data do.
class BatchReader {
  public:
    /// `pinned`: where tokens go on to a CUDA device.
    BatchReader(const BatchCut& cut, const TokenNeeds& needs, bool pinned)
        : cut_(cut), needs_(needs), pinned_(pinned) {}

    /// The microbatches of the global batch that starts at sample `first_sample` of the data's order, on the CPU. seed,
    /// step, training and gradient_scale are left at their defaults.
    std::vector<models::Microbatch> read(const Dataset& data, std::int64_t first_sample);
    /// read() returns this batch at once, if it is asked for next; what is wrong with it, it says then.
    void read_ahead(const Dataset& data, std::int64_t first_sample);

  private:
    struct Ahead {
        const Dataset* data = nullptr;
        std::int64_t first_sample = 0;
        std::vector<models::Microbatch> microbatches;
    };

    std::vector<models::Microbatch> read_now(const Dataset& data, std::int64_t first_sample) const;

    BatchCut cut_;
    TokenNeeds needs_;
    bool pinned_;
    std::optional<Ahead> ahead_;
};

}  // namespace smp::runtime
