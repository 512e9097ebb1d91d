// What was measured of one configuration of a benchmark job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/bench/variants.h"
#include "partition/plan/memory_category.h"

namespace smp::launch {

/// How a benchmark job measures. In each round every configuration has its turn: it is set up anew, so that one lies
/// in memory at a time, warmed up, timed, and traced in further steps, whose tracing so costs the timed ones nothing.
struct MeasuringOptions {
    int rounds = 3;
    int warm_up = 2;  // steps a round
    int steps = 5;    // timed, a round
    int traced = 1;   // a round; 0: bubble and exposed communication stay unknown
};

/// One configuration on so many ranks: row of the result.
struct Measurement {
    Variant variant;
    int ranks = 1;
    std::string failure = {};  // why it could not be measured: a sentence; empty: it was

    std::string layout = {};                  // "pp 2, tp 1, rdp 2": degrees
    std::string configuration = {};           // lines "section.key=value" (Job::canonical_text)
    std::int64_t global_batch = 0;            // sequences a step
    std::int64_t tokens = 0;                  // a step
    double flops_per_token = 0;               // of the model: models::model_flops_per_token
    std::vector<double> seconds = {};         // of the timed steps of all rounds, by rank 0's clock
    std::vector<double> bubbles = {};         // of the traced steps: partition::measured_bubble
    std::vector<double> exposed = {};         // likewise: exposed_share
    std::int64_t memory_bytes = 0;            // of the rank that took most at once on its device, in a timed step
    partition::MemoryBytes memory = {};       // that rank's peak of each category
    std::int64_t predicted_memory_bytes = 0;  // of the largest rank

    bool is_measured() const { return failure.empty() && !seconds.empty(); }
};

/// For a person, beside other rows: "microbatches=4", "microbatches=4, 2 ranks" where rows differ in ranks.
std::string name_of(const Measurement& row, bool with_ranks);

}  // namespace smp::launch
