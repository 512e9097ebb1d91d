// Makes the list of a module's parameters: each by its name, its whole shape and how tensor ranks cut it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/parameter.h"

namespace smp::models {

inline constexpr Initialisation kZeros{Start::zeros, 0};
inline constexpr Initialisation kOnes{Start::ones, 0};

/// Parameters of two dimensions or more decay. A dimension that is cut is rounded up to a multiple of the tensor
/// degree.
class ParameterList {
  public:
    /// `prefix` begins every name.
    ParameterList(std::string prefix, int tensor_degree, int tensor_rank)
        : prefix_(std::move(prefix)), degree_(tensor_degree), rank_(tensor_rank) {}

    /// Every tensor rank holds all of it.
    Parameter& whole(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start);
    /// Cut along dimension 0, so a rank holds whole rows.
    Parameter& by_rows(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start);
    /// Cut along the last dimension, in each of `parts` equal parts of it.
    Parameter& by_columns(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start,
                          std::int64_t parts = 1);

    std::vector<Parameter> take() { return std::move(parameters_); }

  private:
    Parameter& add(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start);
    Parameter& cut(const std::string& name, const std::vector<std::int64_t>& shape, Initialisation start,
                   std::size_t dimension, std::int64_t parts);

    std::string prefix_;
    int degree_, rank_;
    std::vector<Parameter> parameters_;
};

/// The least multiple of `divisor` that is `size` or more, over `divisor`: what a tensor rank has of a dimension.
constexpr std::int64_t rounded_up_part(std::int64_t size, std::int64_t divisor) {
    return (size + divisor - 1) / divisor;
}

}  // namespace smp::models
