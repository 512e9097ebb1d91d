// What a training step was on each rank, measured beside it and put together in one gather.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comms/communicator.h"
#include "comms/progress.h"
#include "partition/job/topology.h"
#include "runtime/execution/issue.h"
#include "runtime/machine/device_monitor.h"
#include "runtime/machine/rank_place.h"
#include "runtime/records/step_record.h"
#include "runtime/records/straggler.h"

namespace smp::runtime {

/// Where each rank of the world is, by rank; `device`: what this one computes on. Collective, blocking.
std::vector<RankPlace> places_of_ranks(comms::Communicator& world, const partition::Topology& topology,
                                       const std::string& device);

/// For the rank's own thread. Where several ranks share a process or a host, the first of them reads what belongs to
/// that.
class StepWatch {
  public:
    /// Opens NVML on the first rank of a host. Local. `world` must outlive it.
    StepWatch(comms::Communicator& world, std::vector<RankPlace> places, const partition::Topology& topology);

    const std::vector<RankPlace>& places() const { return places_; }

    /// A step begins; its batch is there.
    void begin();
    void have_batch();
    /// The step's work is done: gathers what it was on all ranks into record.ranks and the numbers that are made of
    /// them, and looks for a straggler where all ranks know their waits (`issued`), which goes into record.notice when
    /// it is found first. Collective, blocking: one gather of some hundred bytes a rank.
    void end(const std::optional<IssueTime>& issued, std::int64_t tensor_bytes, StepRecord& record);

  private:
    RankStep own_step(const std::optional<IssueTime>& issued, std::int64_t tensor_bytes) const;

    comms::Communicator& world_;
    std::vector<RankPlace> places_;
    bool first_of_process_ = true, first_of_host_ = true;
    std::optional<DeviceMonitor> devices_;
    StragglerRule rule_;
    comms::Clock::time_point begun_, read_;
    double cpu_seconds_ = 0;
};

}  // namespace smp::runtime
