#include "comms/progress.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

namespace smp::comms {

namespace {

// How long the others are asked: enough for a rank between two operators to answer.
constexpr std::chrono::milliseconds kPatience{2000};
// For a failure that needs no answers, only to know that nobody else tells of it.
constexpr std::chrono::milliseconds kShortPatience{500};

}  // namespace

Clock::time_point after(Clock::time_point start, std::chrono::milliseconds span) {
    const auto room = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::time_point::max() - start);
    return span < room ? start + span : Clock::time_point::max();
}

Work Progress::begin(std::shared_ptr<Operation> operation) {
    require_usable();
    in_flight_.push_back(operation);
    if (step(*operation)) return {};
    return {std::move(operation), shared_from_this()};
}

bool Progress::step(Operation& operation) {
    if (operation.complete_) return true;
    try {
        if (!operation.advance()) return false;
    } catch (const CommunicationError& error) {
        fail(error);
        throw;
    } catch (const std::exception& error) {  // half done is as bad as failed
        fail(CommunicationError(fmt::format("{} failed: {}", operation.describe(), error.what())));
        throw;
    }
    operation.complete_ = true;
    if (!stepping_) forget(operation);
    return true;
}

void Progress::step_each() {
    if (stepping_) return;  // called by an operation's step
    stepping_ = true;
    struct Reset {
        bool& stepping;
        ~Reset() { stepping = false; }
    } reset{stepping_};
    for (std::size_t i = 0; i < in_flight_.size(); ++i) {  // steps may begin further operations
        const std::shared_ptr<Operation> operation = in_flight_[i];
        step(*operation);
    }
    std::erase_if(in_flight_, [](const auto& operation) { return operation->complete_; });
}

void Progress::forget(const Operation& operation) {
    const auto found = std::find_if(in_flight_.begin(), in_flight_.end(),
                                    [&](const auto& other) { return other.get() == &operation; });
    if (found != in_flight_.end()) in_flight_.erase(found);
}

void Progress::wait(Operation& operation) {
    if (operation.complete_) return;
    require_usable();
    if (step(operation)) return;
    const Clock::time_point start = Clock::now();
    struct Timer {
        Clock::duration& sum;
        Clock::time_point start;
        ~Timer() { sum += Clock::now() - start; }
    } timer{waited_, start};
    const Clock::time_point deadline = after(start, limit().time);
    for (;;) {
        look();
        const std::uint64_t seen = events();
        require_usable();
        if (step(operation)) return;
        const bool all = is_due();
        if (all) {
            step_each();
            have_looked();
        }
        if (operation.complete_) return;
        const Clock::time_point now = Clock::now();
        if (now >= deadline) {
            run_out(operation);
            require_usable();
        }
        if (inquiry_->has_news()) inquiry_->answer(standing(&operation));
        Clock::time_point until = std::min(deadline, operation.due());
        if (all)
            for (const auto& other : in_flight_) until = std::min(until, other->due());
        if (until > now) rest(seen, now - start, until);
    }
}

Standing Progress::standing(const Operation* operation) const {
    Standing own{.waits = operation != nullptr};
    if (operation != nullptr) {
        own.operation = operation->describe();
        own.awaited = operation->awaited();
    }
    if (activity_ != nullptr) own.activity = activity_->text();
    return own;
}

bool Progress::has_failed_elsewhere() {
    look();
    if (!failure_) look_for_failure();
    return failure_ && failure_->by_peer();
}

void Progress::run_out(const Operation& operation) {
    const Standing own = standing(&operation);
    const auto standings =
        inquiry_->ask(own, std::min(kPatience, limit().time), [this] { return has_failed_elsewhere(); });
    if (!standings) return;
    std::string message = fmt::format("{} did not complete within {}", own.operation, readable(limit().time));
    if (!limit().key.empty()) message += fmt::format(" ({})", limit().key);
    if (!own.activity.empty()) message += fmt::format(", in {}", own.activity);
    message += "; " + explain(inquiry_->rank(), *standings, [this](int rank) { return inquiry_->name(rank); });
    if (!limit().key.empty()) message += fmt::format(", or raise {} where it only needs longer", limit().key);
    fail(CommunicationError(message));
}

bool Progress::speaks_for_all() noexcept {
    try {
        return inquiry_->ask(standing(), kShortPatience, [this] { return has_failed_elsewhere(); }).has_value();
    } catch (const std::exception&) {
        return true;
    }
}

void Progress::require_usable() {
    if (!failure_) look_for_failure();
    if (failure_) throw CommunicationError(*failure_);
}

void Progress::fail(const CommunicationError& error) noexcept {
    if (failure_) return;
    failure_.emplace(error);
    on_failure();
}

void Progress::leave_in_flight() noexcept {
    for (auto& operation : in_flight_) new std::shared_ptr<Operation>(std::move(operation));
    in_flight_.clear();
}

void PollingProgress::rest(std::uint64_t, Clock::duration waited, Clock::time_point until) {
    using std::chrono::microseconds;
    if (waited < microseconds(20)) return;
    if (waited < (own_processor_ ? microseconds(20'000) : microseconds(50))) {
        std::this_thread::yield();
        return;
    }
    const Clock::duration longest = own_processor_ ? microseconds(200) : microseconds(1000);
    const Clock::duration pause = std::clamp<Clock::duration>(waited / 32, microseconds(50), longest);
    std::this_thread::sleep_until(std::min(Clock::now() + pause, until));
}

Activity::Activity(Progress& progress, std::function<std::string()> text)
    : progress_(progress), outer_(progress.activity_), text_(std::move(text)) {
    progress_.activity_ = this;
}

Activity::~Activity() { progress_.activity_ = outer_; }

std::string readable(std::chrono::milliseconds duration) {
    if (duration.count() % 1000 == 0) return fmt::format("{} s", duration.count() / 1000);
    return fmt::format("{} ms", duration.count());
}

}  // namespace smp::comms
