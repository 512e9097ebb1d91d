// The metrics of the last step for Prometheus, which fetches them as often as it likes (logging.prometheus_port).
#pragma once

#include <memory>

#include "runtime/records/recorder.h"

namespace smp::launch {

/// http://host:port/metrics, over all addresses of the host, for as long as it lives: a gauge "smp_<name>" for each
/// column of a step's record (records/step_record.h) that has been known so far, NaN where it no longer is; before the
/// first step, none. The gauges and their text are prometheus-cpp's. Its server is not used: the threads of civetweb,
/// which that stands on, ask for a stack of 100 KiB, and beside LibTorch, whose thread-local data come out of a stack,
/// the system refuses such threads.
class MetricsPage final : public runtime::Recorder {
  public:
    /// Throws std::runtime_error, with a sentence for a person, where the port cannot be had. 0: any that is free.
    explicit MetricsPage(int port);
    ~MetricsPage() override;

    int port() const;
    void stepped(const runtime::StepRecord& record) override;

  private:
    struct Page;
    std::unique_ptr<Page> page_;
};

}  // namespace smp::launch
