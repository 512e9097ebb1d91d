// The abstract machine without a clock: whatever can start ends at once.
#include "partition/check/checker_passes.h"
#include "partition/check/machine.h"

namespace smp::partition::passes {
namespace {

class Proof : public Machine::Clock {
  public:
    Proof(const Programs& programs, Communicators communicators) : machine_(programs, *this, communicators) {}

    /// Runs as far as it goes.
    const Machine& run() {
        machine_.begin();
        while (!startable_.empty()) {
            const TransferId transfer = startable_.back();
            startable_.pop_back();
            machine_.let_go(transfer);
            machine_.end_transfer(transfer);
        }
        return machine_;
    }

  private:
    void issued(Place) override {}
    void compute(Place here) override { machine_.end_compute(here.stage); }
    void transfer(TransferId transfer) override { startable_.push_back(transfer); }

    std::vector<TransferId> startable_;
    Machine machine_;
};

}  // namespace

Findings check_end(const Programs& programs, Communicators communicators) {
    Proof proof(programs, communicators);
    const Machine& machine = proof.run();
    Findings findings;
    for (const StageId stage : programs.ids()) {
        if (!machine.has_ended(stage)) findings.push_back(machine.reason(stage));
    }
    return findings;
}

}  // namespace smp::partition::passes
