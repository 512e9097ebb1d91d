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
    TimedOperation(std::shared_ptr<comms::Operation> operation, comms::Progress& progress, std::function<void()> note)
        : operation_(std::move(operation)), progress_(progress), note_(std::move(note)) {}

    bool advance() override {
        if (!progress_.step(*operation_)) return false;
        note_();
        return true;
    }
    std::string describe() const override { return operation_->describe(); }
    std::vector<int> awaited() const override { return operation_->awaited(); }

  private:
    std::shared_ptr<comms::Operation> operation_;
    comms::Progress& progress_;  // owns this
    std::function<void()> note_;
};

}  // namespace

std::int64_t steady_nanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

comms::Work timed(std::shared_ptr<comms::Operation> operation, comms::Progress& progress, std::function<void()> note) {
    if (operation->call_at_end(note)) return {std::move(operation), progress.shared_from_this()};
    return progress.begin(std::make_shared<TimedOperation>(std::move(operation), progress, std::move(note)));
}

}  // namespace smp::runtime
