#include "runtime/agreement/long_work.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "comms/progress.h"
#include "runtime/agreement/agreement.h"

namespace smp::runtime {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kFirstBeat{5}, kLongestBeat{500};
constexpr std::chrono::seconds kUntilTold{2}, kBetweenTold{5}, kUntilLeft{2};

/// Thrown into work whose result nobody wants any more.
struct GivenUp {};

/// Of one rank's work, between its two threads; the work's may outlive the other.
struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool is_done = false, is_given_up = false;
    std::exception_ptr failure;
    TextWork now;
    Clock::time_point moved = Clock::now();  // when it last reported something new
};

/// "tokenising "/data/book.txt": 43 % of 100.4 MB".
std::string sentence(const TextWork& work, int rank) {
    return fmt::format("{}{}: {} % of {:.1f} MB", rank == 0 ? "" : fmt::format("rank {}: ", rank), work.what,
                       work.of > 0 ? 100 * work.done / work.of : 0, static_cast<double>(work.of) / 1e6);
}

std::string text_of(const TextWork& work) { return fmt::format("{} {} {}", work.done, work.of, work.what); }

TextWork work_in(const std::string& text) {
    TextWork work;
    std::size_t digits = 0;
    work.done = std::stoll(text, &digits);
    std::string rest = text.substr(digits);
    work.of = std::stoll(rest, &digits);
    work.what = rest.substr(digits + 1);
    return work;
}

}  // namespace

void work_together(comms::Communicator& world, const std::function<void(const ReportWork&)>& work,
                   const std::function<void(const std::string&)>& tell) {
    auto shared = std::make_shared<Shared>();
    std::thread thread([shared, work] {
        std::exception_ptr failure;
        try {
            work([shared](const TextWork& now) {
                const std::lock_guard lock(shared->mutex);
                if (shared->is_given_up) throw GivenUp();
                shared->now = now;
                shared->moved = Clock::now();
            });
        } catch (...) {
            failure = std::current_exception();
        }
        const std::lock_guard lock(shared->mutex);
        shared->failure = std::move(failure);
        shared->is_done = true;
        shared->changed.notify_all();
    });
    // Where something is thrown below, the thread ends at its next report, or it is what stands still.
    struct Leave {
        std::thread& thread;
        Shared& shared;
        bool stands_still = false;
        ~Leave() {
            if (!thread.joinable()) return;
            std::unique_lock lock(shared.mutex);
            shared.is_given_up = true;
            const bool comes_back =
                !stands_still && shared.changed.wait_for(lock, kUntilLeft, [&] { return shared.is_done; });
            lock.unlock();
            comes_back ? thread.join() : thread.detach();
        }
    } leave{thread, *shared};

    const comms::WaitLimit limit = world.in_flight()->limit();
    const milliseconds longest_beat = std::min<milliseconds>(kLongestBeat, limit.time / 4);
    const Clock::time_point begin = Clock::now();
    Clock::time_point told = begin - kBetweenTold;
    for (milliseconds beat = kFirstBeat;; beat = std::min(2 * beat, longest_beat)) {
        std::string own;  // nothing: done
        {
            std::unique_lock lock(shared->mutex);
            shared->changed.wait_for(lock, beat, [&] { return shared->is_done; });
            if (!shared->is_done) own = text_of(shared->now);
            leave.stands_still = !shared->is_done && Clock::now() - shared->moved > limit.time;
            if (leave.stands_still)
                throw comms::CommunicationError(
                    fmt::format("{}: has stood still for {}; look at the disk, or raise {}",
                                shared->now.what.empty() ? "opening the data" : sentence(shared->now, 0),
                                comms::readable(limit.time), limit.key.empty() ? "the limit" : limit.key));
        }
        std::optional<std::pair<int, TextWork>> slowest;
        const auto all = texts_of_all(world, own);
        for (int rank = 0; rank < world.size(); ++rank) {
            if (all[rank].empty()) continue;
            const TextWork one = work_in(all[rank]);
            if (!slowest || one.of - one.done > slowest->second.of - slowest->second.done) slowest = {rank, one};
        }
        if (!slowest) break;
        const Clock::time_point now = Clock::now();
        if (!tell || world.rank() != 0 || now - begin < kUntilTold || now - told < kBetweenTold) continue;
        if (!slowest->second.what.empty()) tell(sentence(slowest->second, slowest->first));
        told = now;
    }
    thread.join();
    fail_together(world, [&] {
        if (shared->failure) std::rethrow_exception(shared->failure);
    });
}

}  // namespace smp::runtime
