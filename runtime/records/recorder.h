// Who is told what a run does, to write it down or show it: the console, metrics.jsonl, trace.json, ….
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "partition/foresight/action_times.h"
#include "partition/foresight/memory_use.h"
#include "partition/job/module_graph.h"
#include "partition/job/topology.h"
#include "partition/plan/plan.h"
#include "runtime/job/job.h"
#include "runtime/machine/rank_place.h"
#include "runtime/records/step_record.h"

namespace smp::runtime {

/// What is known before the first step. What it refers to lives as long as the run.
struct RunStart {
    const Job& job;
    const partition::Plan& plan;
    const partition::ModuleGraph& graph;                             // what the plan was made from
    partition::Coordinate at;                                        // of the rank that is told
    std::int64_t steps_done = 0;                                     // where it goes on from
    std::vector<std::pair<std::string, std::string>> settings = {};  // name and value, for a person
    std::vector<std::string> warnings = {};                          // sentences, likewise
    std::vector<std::string> notes = {};
    int rank = 0;                        // that is told
    std::vector<RankPlace> places = {};  // of all ranks, by rank
};

struct Evaluation {
    std::int64_t step = 0;  // after which it was
    double loss = 0;        // of the validation data
    std::string sample;     // what was drawn after training.sample_prompt; empty where none was
};

struct SavedCheckpoint {
    std::int64_t step = 0;  // after which it was taken
    std::string path;
    std::uint64_t bytes = 0;  // of a complete one: of all ranks' files
    double seconds = 0;       // likewise: from its snapshot until it had its name
    std::string failure;      // a sentence; empty where it is complete
    std::string note;         // a sentence about older ones that could not be removed; else empty
};

/// Somebody outside has asked for something; it is done next.
struct AskedFor {
    std::int64_t step = 0;  // after which it was heard
    int signal = 0;         // that has brought it; 0: none
    bool stops = false;     // the run, with a checkpoint; else a checkpoint alone
};

struct RunEnd {
    partition::MemoryUse memory;           // of the rank that is told, in its last step
    std::int64_t steps = 0;                // done
    bool stopped = false;                  // on request, before the last step
    std::vector<std::string> advice = {};  // sentences: what would make the next run better
};

/// The lines that a rank's log begins with: where the rank is and, on rank 0, a line for each node.
std::vector<std::string> head_of_log(const RunStart& run);

/// Each event comes once, in the order of the run; a recorder takes what it wants. Those of rank 0 are told everything,
/// those of other ranks that a run has started and what its steps were. What they throw ends the run: DataError where a
/// file cannot be written. All is local.
class Recorder {
  public:
    virtual ~Recorder() = default;

    virtual void started(const RunStart& /*run*/) {}
    /// After a step and its evaluation, where it has one.
    virtual void stepped(const StepRecord& /*record*/) {}
    /// What the tensors of each rank took in a step, by rank: after the first step that was done, and after the last.
    virtual void measured(const std::vector<partition::MemoryUse>& /*ranks*/) {}
    /// When the actions of the step ran, on all ranks.
    virtual void traced(const partition::StepTimes& /*times*/) {}
    virtual void evaluated(const Evaluation& /*evaluation*/) {}
    /// A checkpoint is complete, or could not be written; the run may have gone on meanwhile.
    virtual void saved(const SavedCheckpoint& /*checkpoint*/) {}
    /// The run waits for something, and why: a sentence.
    virtual void waiting(const std::string& /*sentence*/) {}
    virtual void asked(const AskedFor& /*request*/) {}
    /// After the last step; never after a failure.
    virtual void finished(const RunEnd& /*end*/) {}
};

using Recorders = std::vector<std::unique_ptr<Recorder>>;

}  // namespace smp::runtime
