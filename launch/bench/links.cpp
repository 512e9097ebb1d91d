#include "launch/bench/links.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "launch/bench/answer.h"
#include "launch/bench/links_report.h"
#include "launch/bench/pair_rounds.h"
#include "launch/bench/statistics.h"
#include "launch/build_facts.h"
#include "launch/command/config_arguments.h"
#include "launch/train/run_ranks.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/hosts.h"
#include "runtime/records/median.h"

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
    return runtime::median(std::move(seconds));
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

/// Of one group, in seconds; with `large` elements, which an all_gather's pieces have together.
struct CollectiveSeconds {
    double small_reduce = 0, large_reduce = 0, small_gather = 0, large_gather = 0;
};

std::int64_t piece_of(const at::Tensor& large, std::int64_t ranks) {
    return std::max<std::int64_t>(1, large.numel() / ranks);
}

CollectiveSeconds measure_collectives(comms::Communicator& group, const at::Tensor& small, const at::Tensor& large,
                                      int repeats) {
    if (group.size() < 2) return {};
    const auto reduce = [&](const at::Tensor& tensor) {
        return median_time(repeats, [&] { comms::all_reduce(group, tensor).wait(); });
    };
    const auto gather = [&](const at::Tensor& input) {
        const at::Tensor output = at::empty({group.size() * input.numel()}, at::kFloat);
        return median_time(repeats, [&] { group.all_gather(output, input).wait(); });
    };
    return {.small_reduce = reduce(small),
            .large_reduce = reduce(large),
            .small_gather = gather(small),
            .large_gather = gather(at::zeros({piece_of(large, group.size())}, at::kFloat))};
}

void add_rows(const CollectiveSeconds& seconds, std::int64_t ranks, const at::Tensor& large, const std::string& place,
              std::vector<CollectiveTimes>& rows) {
    rows.push_back({.name = "all_reduce",
                    .place = place,
                    .latency_seconds = seconds.small_reduce,
                    .seconds = seconds.large_reduce,
                    .moved_bytes = 2 * (ranks - 1) * static_cast<std::int64_t>(large.nbytes()) / ranks});
    rows.push_back({.name = "all_gather",
                    .place = place,
                    .latency_seconds = seconds.small_gather,
                    .seconds = seconds.large_gather,
                    .moved_bytes = (ranks - 1) * piece_of(large, ranks) * std::int64_t{sizeof(float)}});
}

/// Of all ranks, and where there are several hosts of the ranks of each that has several, all hosts at the same time.
std::vector<CollectiveTimes> collectives_of(comms::Communicator& world, const std::vector<std::string>& hosts,
                                            const at::Tensor& small, const at::Tensor& large, int repeats) {
    std::vector<CollectiveTimes> rows;
    add_rows(measure_collectives(world, small, large, repeats), world.size(), large,
             fmt::format("all {} ranks", world.size()), rows);
    const std::vector<int> numbers = runtime::numbered(hosts);
    const int count = 1 + *std::max_element(numbers.begin(), numbers.end());
    if (count == 1) return rows;
    const auto host = world.split(numbers[world.rank()], world.rank(), "host");
    const CollectiveSeconds own = measure_collectives(*host, small, large, repeats);
    const at::Tensor mine = at::empty({4}, at::kDouble), all = at::empty({world.size(), 4}, at::kDouble);
    auto* const values = mine.data_ptr<double>();
    values[0] = own.small_reduce;
    values[1] = own.large_reduce;
    values[2] = own.small_gather;
    values[3] = own.large_gather;
    world.all_gather(all, mine).wait();
    for (int number = 0; number < count; ++number) {
        const auto ranks = std::count(numbers.begin(), numbers.end(), number);
        const auto first = std::find(numbers.begin(), numbers.end(), number) - numbers.begin();
        if (ranks < 2) continue;
        const double* const of_first = all.const_data_ptr<double>() + 4 * first;
        const CollectiveSeconds seconds{.small_reduce = of_first[0],
                                        .large_reduce = of_first[1],
                                        .small_gather = of_first[2],
                                        .large_gather = of_first[3]};
        add_rows(seconds, ranks, large, fmt::format("{}, {} ranks", hosts[first], ranks), rows);
    }
    return rows;
}

}  // namespace

int measure_links(const BenchArguments& arguments, bool are_threads, comms::Communicator& world) {
    if (world.size() < 2)
        runtime::throw_agreed(
            fmt::format("--ranks is {}; links lie between 2 ranks or more: mpirun -np N smp_bench links, or --ranks N",
                        world.size()),
            2, 0);
    world.set_limit(limit_of_waits({}));
    at::set_num_threads(fair_thread_count(world));  // reductions add with them, as in a training
    const auto hosts = runtime::host_names(world);
    const at::Tensor small = at::zeros({2}, at::kFloat), large = at::zeros({arguments.bytes / 4}, at::kFloat);
    const auto pairs = measure_pairs(world, small, large, arguments.repeats);
    const auto collectives = collectives_of(world, hosts, small, large, arguments.repeats);
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
