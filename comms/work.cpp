#include <exception>
#include <utility>

#include <fmt/format.h>

#include "comms/progress.h"

namespace smp::comms {

Work::Work(std::shared_ptr<Operation> operation, std::shared_ptr<Progress> progress)
    : operation_(std::move(operation)),
      progress_(std::move(progress)),
      exceptions_at_start_(std::uncaught_exceptions()) {}

Work::Work(Work&& other) noexcept = default;

Work& Work::operator=(Work&& other) noexcept {
    if (this == &other) return *this;
    drop();
    operation_ = std::move(other.operation_);
    progress_ = std::move(other.progress_);
    exceptions_at_start_ = other.exceptions_at_start_;
    return *this;
}

Work::~Work() { drop(); }

bool Work::test() {
    if (!operation_ || operation_->complete()) return true;
    progress_->require_usable();
    return progress_->step(*operation_);
}

void Work::wait() {
    if (!operation_) return;
    progress_->wait(*operation_);
    operation_.reset();
    progress_.reset();
}

void Work::join() {
    if (!operation_) return;
    progress_->require_usable();
    if (!operation_->join()) return wait();
    operation_.reset();
    progress_.reset();
}

std::shared_ptr<Operation> Work::release() {
    progress_.reset();
    return std::exchange(operation_, nullptr);
}

void Work::drop() noexcept {
    // The operation itself lives on among what its rank has in flight: peers may still use its memory.
    if (!operation_ || operation_->complete() || std::uncaught_exceptions() > exceptions_at_start_) return;
    try {
        progress_->fail(CommunicationError(fmt::format(
            "{} was not waited for: its Work was destroyed while it was in flight", operation_->describe())));
    } catch (...) {
        progress_->fail(CommunicationError("an operation was not waited for"));
    }
}

bool Communicator::speaks_for_all() noexcept { return in_flight()->speaks_for_all(); }

void Communicator::set_limit(const WaitLimit& limit) { in_flight()->set_limit(limit); }

void Communicator::name_places(std::vector<std::string> places) {
    in_flight()->inquiry()->name_places(std::move(places));
}

}  // namespace smp::comms
