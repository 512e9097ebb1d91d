#include "partition/job/topology.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "partition/job/problem.h"

namespace smp::partition {
namespace {

constexpr std::string_view kLetters = "DPT";
constexpr std::array<Axis, 3> kAxes = {Axis::data, Axis::pipeline, Axis::tensor};

int degree_along(const Degrees& degrees, Axis axis) {
    switch (axis) {
        case Axis::data: return degrees.rdp;
        case Axis::pipeline: return degrees.pp;
        case Axis::tensor: return degrees.tp;
    }
    throw std::logic_error("topology: no such axis");
}

int& entry_along(Coordinate& coordinate, Axis axis) {
    switch (axis) {
        case Axis::data: return coordinate.rdp;
        case Axis::pipeline: return coordinate.pp;
        case Axis::tensor: return coordinate.tp;
    }
    throw std::logic_error("topology: no such axis");
}

void require_inside(const Topology& topology, const Coordinate& coordinate) {
    Coordinate copy = coordinate;
    for (const Axis axis : kAxes) {
        const int entry = entry_along(copy, axis);
        if (entry < 0 || entry >= degree_along(topology.degrees, axis)) {
            throw std::logic_error(fmt::format("topology: coordinate ({}) lies outside degrees pp {}, tp {}, rdp {}",
                                               to_string(coordinate), topology.degrees.pp, topology.degrees.tp,
                                               topology.degrees.rdp));
        }
    }
}

}  // namespace

Topology make_topology(const Degrees& degrees, const std::string& placement) {
    std::vector<Problem> problems;
    const auto at_least_one = [&](const char* key, int degree) {
        if (degree < 1) problems.push_back({key, fmt::format("is {}; a degree is at least 1", degree)});
    };
    at_least_one("parallel.pipeline_parallel_degree", degrees.pp);
    at_least_one("parallel.tensor_parallel_degree", degrees.tp);
    at_least_one("reduced data-parallel degree", degrees.rdp);

    const std::string letters = placement == "cluster" ? "DPT" : placement == "spread" ? "TPD" : placement;
    if (!std::is_permutation(letters.begin(), letters.end(), kLetters.begin(), kLetters.end())) {
        problems.push_back({"parallel.placement_strategy",
                            fmt::format("is \"{}\"; allowed are \"cluster\" (= DPT), \"spread\" (= TPD) and any order "
                                        "of the letters D, P and T, the right-most varying fastest with the rank",
                                        placement)});
    }
    if (!problems.empty()) throw ConfigError(std::move(problems));

    Topology topology{.degrees = degrees};
    for (std::size_t i = 0; i < letters.size(); ++i) topology.order[i] = kAxes[kLetters.find(letters[i])];
    return topology;
}

std::string placement_letters(const Topology& topology) {
    std::string letters;
    for (const Axis axis : topology.order) letters += kLetters[static_cast<std::size_t>(axis)];
    return letters;
}

Coordinate coordinate_of(const Topology& topology, int rank) {
    if (rank < 0 || rank >= topology.degrees.world()) {
        throw std::logic_error(
            fmt::format("topology: rank {} lies outside a world of {}", rank, topology.degrees.world()));
    }
    Coordinate coordinate;
    for (auto axis = topology.order.rbegin(); axis != topology.order.rend(); ++axis) {
        const int degree = degree_along(topology.degrees, *axis);
        entry_along(coordinate, *axis) = rank % degree;
        rank /= degree;
    }
    return coordinate;
}

int rank_of(const Topology& topology, const Coordinate& coordinate) {
    require_inside(topology, coordinate);
    Coordinate copy = coordinate;
    int rank = 0;
    for (const Axis axis : topology.order) {
        rank = rank * degree_along(topology.degrees, axis) + entry_along(copy, axis);
    }
    return rank;
}

std::vector<int> group_along(const Topology& topology, const Coordinate& at, Axis axis) {
    std::vector<int> ranks;
    Coordinate member = at;
    for (int i = 0; i < degree_along(topology.degrees, axis); ++i) {
        entry_along(member, axis) = i;
        ranks.push_back(rank_of(topology, member));
    }
    return ranks;
}

std::string to_string(const Coordinate& coordinate) {
    return fmt::format("pp {}, tp {}, rdp {}", coordinate.pp, coordinate.tp, coordinate.rdp);
}

}  // namespace smp::partition
