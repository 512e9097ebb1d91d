#include "partition/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/problem.h"

namespace smp::partition {
namespace {

using Wide = __int128;  // products of bytes or FLOPs, ticks and millionths

constexpr std::int64_t kChainTicks = 1'000'000'000;
constexpr std::int64_t kMillion = 1'000'000;
constexpr std::int64_t kStateBytes = 16;       // a parameter: fp32 value, gradient, two moments
constexpr std::int64_t kSecondCopyBytes = 12;  // what a tied copy saves beside another one: all but the gradient

/// weight·part/total of kChainTicks, rounded down.
std::int64_t ticks_of(std::int64_t weight_millionths, std::int64_t part, std::int64_t total) {
    if (total == 0) return 0;
    return static_cast<std::int64_t>(Wide{weight_millionths} * part * kChainTicks / (Wide{total} * kMillion));
}

/// Costs of all runs [first, end), each in O(1).
class RunCosts {
  public:
    explicit RunCosts(const ChainCosts& costs)
        : count_(costs.module_ticks.size()), ticks_((count_ + 1) * (count_ + 1)) {
        for (std::size_t first = 0; first < count_; ++first) {
            std::vector<int> held(costs.shared.size(), 0);
            std::int64_t sum = 0;
            for (std::size_t end = first + 1; end <= count_; ++end) {
                sum += costs.module_ticks[end - 1];
                for (std::size_t s = 0; s < costs.shared.size(); ++s) {
                    const auto& users = costs.shared[s].modules;
                    if (!std::binary_search(users.begin(), users.end(), static_cast<int>(end - 1))) continue;
                    if (held[s]++ > 0) sum -= costs.shared[s].ticks;
                }
                ticks_[first * (count_ + 1) + end] = sum;
            }
        }
    }
    std::size_t modules() const { return count_; }
    std::int64_t operator()(std::size_t first, std::size_t end) const { return ticks_[first * (count_ + 1) + end]; }

  private:
    std::size_t count_;
    std::vector<std::int64_t> ticks_;
};

/// The quality of the best split of modules [first, …) into some number of runs; lower is better.
struct Quality {
    std::int64_t largest = std::numeric_limits<std::int64_t>::max();
    Wide squares = 0;

    bool operator<(const Quality& other) const {
        return largest != other.largest ? largest < other.largest : squares < other.squares;
    }
};

std::vector<int> first_modules_by_hand(const ModuleGraph& graph, const std::vector<int>& stage_layers) {
    std::vector<int> layers;
    for (std::size_t i = 0; i < graph.modules.size(); ++i) {
        if (graph.modules[i].is_layer) layers.push_back(static_cast<int>(i));
    }
    std::vector<int> first_modules = {0};
    std::size_t taken = 0;
    for (std::size_t stage = 0; stage + 1 < stage_layers.size(); ++stage) {
        taken += static_cast<std::size_t>(stage_layers[stage]);
        // A cut before the first layer lies just before it; after the last one, just behind it.
        first_modules.push_back(taken < layers.size() ? layers[taken] : layers.back() + 1);
    }
    return first_modules;
}

std::vector<Problem> problems_by_hand(const std::vector<int>& stage_layers, int stages, int layers) {
    const std::string key = "parallel.stage_layers";
    const std::string shown = fmt::format("is [{}]", fmt::join(stage_layers, ", "));
    std::vector<Problem> problems;
    if (static_cast<int>(stage_layers.size()) != stages) {
        problems.push_back({key, fmt::format("{}, which has {} entries; with pipeline_parallel_degree {} it needs {}",
                                             shown, stage_layers.size(), stages, stages)});
    }
    if (std::any_of(stage_layers.begin(), stage_layers.end(), [](int n) { return n < 0; })) {
        problems.push_back({key, fmt::format("{}; a stage has 0 layers or more", shown)});
    } else if (const auto sum = std::accumulate(stage_layers.begin(), stage_layers.end(), std::int64_t{0});
               sum != layers) {
        problems.push_back(
            {key, fmt::format("{}, which adds up to {} layers, but the model has {}", shown, sum, layers)});
    }
    return problems;
}

}  // namespace

std::int64_t ChainCosts::of(int first_module, int end_module) const {
    std::int64_t sum = 0;
    for (int m = first_module; m < end_module; ++m) sum += module_ticks[static_cast<std::size_t>(m)];
    for (const Shared& parameter : shared) {
        const auto held = std::count_if(parameter.modules.begin(), parameter.modules.end(),
                                        [&](int m) { return m >= first_module && m < end_module; });
        if (held > 1) sum -= (held - 1) * parameter.ticks;
    }
    return sum;
}

ChainCosts chain_costs(const ModuleGraph& graph, double memory_weight, int microbatches_held) {
    const std::int64_t memory_millionths =
        std::llround(std::clamp(memory_weight, 0.0, 1.0) * static_cast<double>(kMillion));
    std::vector<std::int64_t> memory, compute;
    for (const Module& module : graph.modules) {
        memory.push_back(kStateBytes * module.parameter_count + microbatches_held * module.stash_bytes);
        compute.push_back(std::llround(module.forward_flops + module.backward_flops));
    }
    const auto total_memory = std::accumulate(memory.begin(), memory.end(), std::int64_t{0});
    const auto total_compute = std::accumulate(compute.begin(), compute.end(), std::int64_t{0});

    ChainCosts costs;
    for (std::size_t i = 0; i < memory.size(); ++i) {
        costs.module_ticks.push_back(ticks_of(memory_millionths, memory[i], total_memory) +
                                     ticks_of(kMillion - memory_millionths, compute[i], total_compute));
    }
    for (const SharedParameter& shared : graph.shared) {
        costs.shared.push_back(
            {.ticks = ticks_of(memory_millionths, kSecondCopyBytes * shared.parameter_count, total_memory),
             .modules = shared.modules});
    }
    return costs;
}

std::vector<int> cheapest_split(const ChainCosts& costs, int chunks) {
    const RunCosts run(costs);
    const std::size_t modules = run.modules();
    const auto parts = static_cast<std::size_t>(chunks);
    if (chunks < 1 || modules < parts) {
        throw std::logic_error(fmt::format("assignment: {} modules cannot be split into {} chunks", modules, chunks));
    }
    // The largest chunk and the sum of squares cannot be minimised together by one recursion, so first the bound, then
    // the evenest split that keeps it.
    const auto solve = [&](std::int64_t bound, auto&& quality_of) {
        std::vector<std::vector<Quality>> best(parts + 1, std::vector<Quality>(modules + 1));
        best[0][modules] = {.largest = 0, .squares = 0};
        for (std::size_t part = 1; part <= parts; ++part) {
            for (std::size_t first = 0; first < modules; ++first) {
                for (std::size_t end = first + 1; end <= modules && run(first, end) <= bound; ++end) {
                    const Quality& rest = best[part - 1][end];
                    if (rest.largest == Quality{}.largest) continue;
                    best[part][first] = std::min(best[part][first], quality_of(run(first, end), rest));
                }
            }
        }
        return best;
    };
    constexpr auto kNoBound = std::numeric_limits<std::int64_t>::max();
    const auto bounded = solve(kNoBound, [](std::int64_t ticks, const Quality& rest) {
        return Quality{.largest = std::max(ticks, rest.largest), .squares = 0};
    });
    const std::int64_t bound = bounded[parts][0].largest;
    const auto evenness = [](std::int64_t ticks, const Quality& rest) {
        return Quality{.largest = 0, .squares = Wide{ticks} * ticks + rest.squares};
    };
    const auto best = solve(bound, evenness);

    std::vector<int> first_modules;
    std::size_t first = 0;
    for (std::size_t part = parts; part > 0; --part) {
        first_modules.push_back(static_cast<int>(first));
        const Quality& wanted = best[part][first];
        for (std::size_t end = first + 1; end <= modules; ++end) {
            const Quality& rest = best[part - 1][end];
            if (rest.largest == kNoBound || run(first, end) > bound) continue;
            if (evenness(run(first, end), rest).squares == wanted.squares) {
                first = end;
                break;
            }
        }
    }
    return first_modules;
}

std::vector<Chunk> assign_stages(const ModuleGraph& graph, const ParallelOptions& options) {
    const int stages = options.pipeline_parallel_degree;
    const int modules = static_cast<int>(graph.modules.size());
    const int layers = static_cast<int>(
        std::count_if(graph.modules.begin(), graph.modules.end(), [](const Module& m) { return m.is_layer; }));
    std::vector<Problem> problems;
    if (layers < stages) {
        problems.push_back(
            {"parallel.pipeline_parallel_degree",
             fmt::format("is {}, but the model has only {} layers; use at most that many stages", stages, layers)});
    }
    if (!options.auto_partition) {
        const auto more = problems_by_hand(options.stage_layers, stages, layers);
        problems.insert(problems.end(), more.begin(), more.end());
    }
    if (!problems.empty()) throw ConfigError(std::move(problems));

    const int held = std::min(active_microbatches(options), stages);
    const std::vector<int> first_modules = options.auto_partition
                                               ? cheapest_split(chain_costs(graph, options.memory_weight, held), stages)
                                               : first_modules_by_hand(graph, options.stage_layers);
    std::vector<Chunk> chunks;
    for (int stage = 0; stage < stages; ++stage) {
        const auto s = static_cast<std::size_t>(stage);
        const int end = stage + 1 < stages ? first_modules[s + 1] : modules;
        if (first_modules[s] >= end) {
            problems.push_back({"parallel.stage_layers",
                                fmt::format("is [{}], which leaves stage {} without any module; give it a layer",
                                            fmt::join(options.stage_layers, ", "), stage)});
        }
        chunks.push_back({.stage = stage, .first_module = first_modules[s], .end_module = end});
    }
    if (!problems.empty()) throw ConfigError(std::move(problems));
    return chunks;
}

}  // namespace smp::partition
