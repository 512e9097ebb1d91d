// log.<node>.txt: what a node's ranks are and did, written by the first of them where there are several nodes.
#pragma once

#include <filesystem>
#include <optional>

#include "runtime/records/recorder.h"
#include "runtime/records/run_directory.h"

namespace smp::runtime {

/// Of a node with its own log: the rank is the first of its host, and there are other hosts.
bool writes_node_log(std::span<const RankPlace> places, int rank);

class NodeLog final : public Recorder {
  public:
    /// `folder` is the run's; the file is named after the host.
    explicit NodeLog(std::filesystem::path folder) : folder_(std::move(folder)) {}

    /// The node, its ranks, and what slows them. Throws DataError.
    void started(const RunStart& run) override;
    /// A line with the node's memory, and what the step was on each of its ranks, as often as the console says steps.
    void stepped(const StepRecord& record) override;

  private:
    std::filesystem::path folder_;
    std::vector<int> ranks_;
    std::int64_t every_ = 1, last_ = 0;
    std::optional<LineFile> log_;
};

}  // namespace smp::runtime
