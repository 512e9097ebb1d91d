// What one rank has in flight, and how it waits: the part of asynchronous operations that all backends share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comms/communicator.h"
#include "comms/inquiry.h"

namespace smp::comms {

using Clock = std::chrono::steady_clock;

/// start + span, or the end of time where that has no room.
Clock::time_point after(Clock::time_point start, std::chrono::milliseconds span);

/// One asynchronous operation of one rank: a state machine that is stepped until it says that it is complete. It owns
/// its tensors.
class Operation {
  public:
    virtual ~Operation() = default;

    /// One step without blocking; true once complete, then never called again. Throws CommunicationError.
    virtual bool advance() = 0;
    /// "receive of 4096 bytes from rank 2 in 'pipeline'", for messages: ranks are those of the world.
    virtual std::string describe() const = 0;
    /// Ranks of the world that it waits for, as far as it knows.
    virtual std::vector<int> awaited() const { return {}; }
    /// Puts the current stream behind its end, and gives up its tensors, which are then safe in the order of that
    /// stream. False where only the host can wait.
    virtual bool join() { return false; }
    /// `note` is called, by whatever thread, at its end. False where nothing but advance() tells.
    virtual bool call_at_end(const std::function<void()>& /*note*/) { return false; }
    /// When the next step can have an effect though nothing happens outside; most never know.
    virtual Clock::time_point due() const { return Clock::time_point::max(); }

    bool complete() const { return complete_; }

  private:
    friend class Progress;
    bool complete_ = false;
};

/// One rank's operations in flight over a communicator and its relatives. They share its first failure.
class Progress : public std::enable_shared_from_this<Progress> {
  public:
    Progress(WaitLimit limit, std::shared_ptr<Inquiry> inquiry)
        : limit_(std::move(limit)), inquiry_(std::move(inquiry)) {}
    virtual ~Progress() = default;
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Takes the first step of `operation`.
    Work begin(std::shared_ptr<Operation> operation);
    /// Steps every operation in flight, and answers ranks that ask what this one is doing.
    void step_all() {
        look();
        if (!in_flight_.empty()) step_each();
        if (inquiry_->has_news()) inquiry_->answer(standing());
    }
    /// For who comes by often: does so where operations need it to move on, or it is time again (between_looks());
    /// whether it did.
    bool step_due() {
        if (!is_due()) {
            look();
            return false;
        }
        step_all();
        have_looked();
        return true;
    }
    /// Steps one; true once complete.
    bool step(Operation& operation);
    /// Blocks until `operation` is complete; throws on failure and when the time is over. Then the message says where
    /// the wait leads to, by what the ranks that still answer say within two more seconds.
    void wait(Operation& operation);
    /// See Communicator.
    bool speaks_for_all() noexcept;

    /// Throws the first failure, if there was one here or at a peer.
    void require_usable();
    /// Keeps the first failure for everyone who calls from now on.
    void fail(const CommunicationError& error) noexcept;
    bool failed() const { return failure_.has_value(); }

    bool idle() const { return in_flight_.empty(); }
    /// Grows while the rank's thread waits here or comes by. From any thread.
    std::uint64_t looks() const noexcept { return looks_.load(std::memory_order_relaxed); }
    virtual const WaitLimit& limit() const { return limit_; }
    virtual void set_limit(WaitLimit limit) { limit_ = std::move(limit); }
    /// What has been in flight for longest; null: nothing.
    const Operation* oldest() const { return in_flight_.empty() ? nullptr : in_flight_.front().get(); }
    /// So long wait() has blocked so far: what is complete when it is first looked at takes no time.
    Clock::duration waited() const { return waited_; }
    const std::shared_ptr<Inquiry>& inquiry() const { return inquiry_; }

  protected:
    /// Reports a failure elsewhere through fail(): looked for before every wait and between its steps.
    virtual void look_for_failure() {}
    /// The first failure has come: the rank's own thread, before anybody is told.
    virtual void on_failure() noexcept {}
    /// Of operations that move on by themselves: for so long nobody needs to know which have ended. Zero: they move by
    /// being stepped.
    virtual Clock::duration between_looks() const { return Clock::duration::zero(); }
    /// A number that changes with every event that a rest() must not sleep over.
    virtual std::uint64_t events() const { return 0; }
    /// Gives the processor away until something may have happened, since `events` was read, or `until`.
    virtual void rest(std::uint64_t events, Clock::duration waited, Clock::time_point until) = 0;
    /// Gives up what is in flight without destroying it: others may use its memory for as long as the process lives.
    void leave_in_flight() noexcept;

  private:
    friend class Activity;

    void look() noexcept { looks_.store(looks() + 1, std::memory_order_relaxed); }
    void step_each();
    bool is_due() const {
        const Clock::duration pause = between_looks();
        return pause == Clock::duration::zero() || Clock::now() >= looked_ + pause;
    }
    void have_looked() {
        if (between_looks() != Clock::duration::zero()) looked_ = Clock::now();
    }
    void forget(const Operation& operation);
    /// What this rank is doing: waiting for `operation`, or at work.
    Standing standing(const Operation* operation = nullptr) const;
    /// Fails, once it is known whom `operation` waits for in the end, or what another rank says of it.
    void run_out(const Operation& operation);
    bool has_failed_elsewhere();

    WaitLimit limit_;
    std::shared_ptr<Inquiry> inquiry_;
    const Activity* activity_ = nullptr;                 // the innermost
    std::vector<std::shared_ptr<Operation>> in_flight_;  // in the order of their beginning
    bool stepping_ = false;
    Clock::time_point looked_{};            // at all, for the last time: of who asks for a pause between looks
    std::atomic<std::uint64_t> looks_ = 0;  // written by the rank's thread alone
    Clock::duration waited_{};
    std::optional<CommunicationError> failure_;
};

/// Waits by looking again: spins at first, then yields, then sleeps. With a processor of its own a rank yields for
/// long, since nobody else wants it; where ranks share processors it soon sleeps for a small part of the time waited so
/// far, so that those who compute are not starved (a yielding waiter takes its full share of time).
class PollingProgress : public Progress {
  public:
    PollingProgress(WaitLimit limit, std::shared_ptr<Inquiry> inquiry, bool own_processor)
        : Progress(std::move(limit), std::move(inquiry)), own_processor_(own_processor) {}

  protected:
    void rest(std::uint64_t events, Clock::duration waited, Clock::time_point until) override;

  private:
    bool own_processor_;
};

/// "600 s" or "250 ms".
std::string readable(std::chrono::milliseconds duration);

}  // namespace smp::comms
