// Ranks as threads for tests: every rank's exception is kept, the first one is thrown in the test's thread.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

#include "comms/communicator.h"

namespace smp::testing {

/// Runs `body` on one thread a rank of `worlds` with `threads` intra-op threads each and waits for all. Rethrows the
/// exception of the rank that failed first.
inline void on_ranks(std::vector<std::unique_ptr<comms::Communicator>> worlds,
                     const std::function<void(comms::Communicator&)>& body, int threads = 1) {
    std::vector<std::exception_ptr> failures(worlds.size());
    {
        std::vector<std::jthread> running;
        for (std::size_t rank = 0; rank < worlds.size(); ++rank) {
            running.emplace_back([&, rank] {
                at::set_num_threads(threads);
                try {
                    body(*worlds[rank]);
                } catch (const comms::CommunicationError& error) {
                    failures[rank] = std::current_exception();
                    if (!error.by_peer()) worlds[rank]->abort(error.what(), 4);
                } catch (const std::exception& error) {
                    failures[rank] = std::current_exception();
                    worlds[rank]->abort(error.what(), 1);
                }
            });
        }
    }
    std::exception_ptr by_peer;
    for (const auto& failure : failures) {
        if (!failure) continue;
        try {
            std::rethrow_exception(failure);
        } catch (const comms::CommunicationError& error) {
            if (!error.by_peer()) throw;
            by_peer = failure;
        }
    }
    if (by_peer) std::rethrow_exception(by_peer);
}

inline void on_local_ranks(int ranks, const std::function<void(comms::Communicator&)>& body, int threads = 1) {
    on_ranks(comms::local_world(ranks, {.limit = {std::chrono::seconds(60)}}), body, threads);
}

}  // namespace smp::testing
