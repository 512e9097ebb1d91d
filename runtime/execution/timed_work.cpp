#include "runtime/execution/timed_work.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace smp::runtime {

namespace {

class TimedOperation final : public comms::Operation {
  public:
    TimedOperation(std::shared_ptr<comms::Operation> operation, comms::Progress& progress,
                   std::function<void(std::int64_t)> note)
        : operation_(std::move(operation)), progress_(progress), note_(std::move(note)) {}

    bool advance() override {
        if (!progress_.step(*operation_)) return false;
        note_(steady_nanoseconds());
        return true;
    }
    std::string describe() const override { return operation_->describe(); }
    std::vector<int> awaited() const override { return operation_->awaited(); }

  private:
    std::shared_ptr<comms::Operation> operation_;
    comms::Progress& progress_;  // owns this
    std::function<void(std::int64_t)> note_;
};

}  // namespace

std::int64_t steady_nanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

comms::Work timed(comms::Work work, comms::Progress& progress, std::function<void(std::int64_t now)> note) {
    auto operation = work.release();
    if (!operation) {
        note(steady_nanoseconds());
        return {};
    }
    return progress.begin(std::make_shared<TimedOperation>(std::move(operation), progress, std::move(note)));
}

}  // namespace smp::runtime
