// Which rank does what: the world as a three-dimensional grid of pipeline stage, tensor shard and data-parallel
// replica.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "partition/job/fields.h"
#include "partition/job/ids.h"
#include "partition/job/words.h"

namespace smp::partition {

/// Sizes of the three axes. `rdp` is the reduced data-parallel degree: replicas of the same stage and the same shard.
struct Degrees {
    int pp = 1;
    int tp = 1;
    int rdp = 1;

    int world() const { return pp * tp * rdp; }
    bool operator==(const Degrees&) const = default;
};
template <>
struct Fields<Degrees> {
    static constexpr auto list = fields<Degrees>(stated("pipeline", &Degrees::pp), stated("tensor", &Degrees::tp),
                                                 stated("reduced_data", &Degrees::rdp));
};

/// Position of one rank on the grid; each entry counts from 0.
struct Coordinate {
    int pp = 0;
    int tp = 0;
    int rdp = 0;

    StageId stage() const { return StageId(pp); }
    bool operator==(const Coordinate&) const = default;
};

/// In the order of the letters D, P, T.
enum class Axis { data, pipeline, tensor };
template <>
struct Words<Axis> {
    static constexpr std::array<std::string_view, 3> list = {"data", "pipeline", "tensor"};
};

/// Degrees and the order in which ranks walk the grid: `order[2]`, the right-most letter of a placement string, varies
/// fastest with the rank.
struct Topology {
    Degrees degrees;
    std::array<Axis, 3> order = {Axis::data, Axis::pipeline, Axis::tensor};

    bool operator==(const Topology&) const = default;
};
template <>
struct Fields<Topology> {
    static constexpr auto list =
        fields<Topology>(stated("degrees", &Topology::degrees), stated("order", &Topology::order));
};

/// `placement` is `cluster` (= `DPT`), `spread` (= `TPD`) or any order of the letters D, P and T.
/// Throws ConfigError (key `parallel.placement_strategy`) for anything else, and for a degree below 1.
Topology make_topology(const Degrees& degrees, const std::string& placement);

/// The order as three letters, such as "DPT".
std::string placement_letters(const Topology& topology);

/// The two are inverse to each other. A rank or coordinate outside the world is an internal error (std::logic_error).
Coordinate coordinate_of(const Topology& topology, int rank);
int rank_of(const Topology& topology, const Coordinate& coordinate);

/// Ranks that differ from `at` along one axis only, in ascending order of their position on that axis: element i has
/// position i.
std::vector<int> group_along(const Topology& topology, const Coordinate& at, Axis axis);

/// "pp 1, tp 0, rdp 2": how messages name a rank's place.
std::string to_string(const Coordinate& coordinate);

}  // namespace smp::partition
