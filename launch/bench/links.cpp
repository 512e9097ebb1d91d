#include "launch/bench/links.h"

#include <chrono>
#include <functional>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "comms/this_process.h"
#include "launch/bench/answer.h"
#include "launch/bench/links_report.h"
#include "launch/bench/pair_rounds.h"
#include "launch/bench/statistics.h"
#include "launch/build_facts.h"
#include "launch/command/config_arguments.h"
#include "launch/train/run_ranks.h"
#include "runtime/agreement/agreement.h"

namespace smp::launch {

namespace {

constexpr int kWarmUp = 2;  // the first messages of a pair connect it

/// The median time of `once`, in seconds.
double median_time(int repeats, const std::function<void()>& once) {
    std::vector<double> seconds;
    for (int i = 0; i < kWarmUp + repeats; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        once();
        if (i >= kWarmUp)
            seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return median_of(std::move(seconds));
}

/// One way of a round trip, by the rank that `leads`.
double one_way(comms::Communicator& world, const at::Tensor& message, int peer, bool leads, int repeats) {
    const auto there = [&] { world.send(message, peer).wait(); };
    const auto back = [&] { world.receive(message, peer).wait(); };
    return median_time(repeats,
                       [&] {
                           leads ? there() : back();
                           leads ? back() : there();
                       }) /
           2;
}

std::vector<LinkTimes> measure_pairs(comms::Communicator& world, const at::Tensor& small, const at::Tensor& large,
                                     int repeats) {
    const int own = world.rank(), ranks = world.size();
    // Of this rank as the lower one, by the other: latency, time of a large message.
    const at::Tensor times = at::zeros({ranks, 2}, at::kDouble), all = at::zeros({ranks, ranks, 2}, at::kDouble);
    for (const PairRound& round : pair_rounds(ranks)) {
        for (const auto& [first, second] : round) {
            if (own != first && own != second) continue;
            const bool leads = own == first;
            const int peer = leads ? second : first;
            const double latency = one_way(world, small, peer, leads, repeats);
            const double seconds = one_way(world, large, peer, leads, repeats);
            if (!leads) continue;
            times.data_ptr<double>()[2 * peer] = latency;
            times.data_ptr<double>()[2 * peer + 1] = seconds;
        }
        world.barrier();
    }
    world.all_gather(all, times).wait();
    std::vector<LinkTimes> pairs;
    for (int first = 0; first < ranks; ++first)
        for (int second = first + 1; second < ranks; ++second) {
            const double* const pair = all.const_data_ptr<double>() + 2 * (std::int64_t{first} * ranks + second);
            pairs.push_back({.first = first, .second = second, .latency_seconds = pair[0], .seconds = pair[1]});
        }
    return pairs;
}

std::vector<CollectiveTimes> measure_collectives(comms::Communicator& world, const at::Tensor& small,
                                                 const at::Tensor& large, int repeats) {
    const auto ranks = static_cast<std::int64_t>(world.size());
    const auto bytes = static_cast<std::int64_t>(large.nbytes());
    const auto reduce = [&](const at::Tensor& tensor) {
        return median_time(repeats, [&] { comms::all_reduce(world, tensor).wait(); });
    };
    // `large` is what all pieces together have.
    const at::Tensor piece = at::zeros({std::max<std::int64_t>(1, large.numel() / ranks)}, at::kFloat);
    const auto gather = [&](const at::Tensor& input) {
        const at::Tensor output = at::empty({ranks * input.numel()}, at::kFloat);
        return median_time(repeats, [&] { world.all_gather(output, input).wait(); });
    };
    return {{.name = "all_reduce",
             .latency_seconds = reduce(small),
             .seconds = reduce(large),
             .moved_bytes = 2 * (ranks - 1) * bytes / ranks},
            {.name = "all_gather",
             .latency_seconds = gather(small),
             .seconds = gather(piece),
             .moved_bytes = (ranks - 1) * static_cast<std::int64_t>(piece.nbytes())}};
}

}  // namespace

int measure_links(const BenchArguments& arguments, bool are_threads, comms::Communicator& world) {
    if (world.size() < 2)
        runtime::throw_agreed(
            fmt::format("--ranks is {}; links lie between 2 ranks or more: mpirun -np N smp_bench links, or --ranks N",
                        world.size()),
            2, 0);
    world.set_limit(limit_of_waits({}));
    const auto hosts = runtime::texts_of_all(world, comms::host_name());
    const at::Tensor small = at::zeros({2}, at::kFloat), large = at::zeros({arguments.bytes / 4}, at::kFloat);
    const auto pairs = measure_pairs(world, small, large, arguments.repeats);
    const auto collectives = measure_collectives(world, small, large, arguments.repeats);
    if (world.rank() != 0) return 0;
    const LinksFacts facts{.program = fmt::format("smp_bench {}", kVersion),
                           .are_threads = are_threads,
                           .hosts = hosts,
                           .bytes = static_cast<std::int64_t>(large.nbytes()),
                           .repeats = arguments.repeats};
    give_answer(links_report(facts, pairs, collectives), arguments.format, arguments.output);
    return 0;
}

}  // namespace smp::launch
