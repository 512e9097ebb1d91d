// Limits of options, stated once: the same calls say what is allowed (for messages and --help) and find what is not.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "partition/job/problem.h"

namespace smp::partition {

/// The value of an option as a message shows it: strings in quotes, numbers in their shortest form that reads back
/// equal.
std::string shown(const std::string& value);
std::string shown(bool value);
template <typename Number>
std::string shown(const Number& value) {
    return fmt::format("{}", value);
}
template <typename Number>
std::string shown(const std::vector<Number>& values) {
    return fmt::format("[{}]", fmt::join(values, ", "));
}

template <typename Value>
std::string shown(const std::optional<Value>& value) {
    return value ? shown(*value) : "null";
}

/// Filled by the rooms' check() functions. `section` is prefixed to every key: "parallel" and "microbatches" make
/// "parallel.microbatches".
class OptionChecks {
  public:
    OptionChecks() = default;
    explicit OptionChecks(const std::string& section) : prefix_(section + '.') {}

    /// `allowed` completes "must be …": "1 or more". `remedy` is a whole clause, or empty.
    template <typename Value>
    void require(const std::string& key, const Value& value, bool holds, const std::string& allowed,
                 const std::string& remedy = "") {
        add(key, shown(value), holds, allowed, remedy);
    }
    template <typename Number>
    void at_least(const std::string& key, Number value, Number lowest) {
        require(key, value, value >= lowest, fmt::format("{} or more", lowest));
    }
    template <typename Number>
    void between(const std::string& key, Number value, Number lowest, Number highest) {
        require(key, value, value >= lowest && value <= highest, fmt::format("from {} to {}", lowest, highest));
    }
    // Numbers that arithmetic in fp32 uses, and that must be there what they are here.
    void positive_in_fp32(const std::string& key, double value) {
        require(key, value, value >= kLeastInFp32 && value <= kMostInFp32,
                fmt::format("from {:.3g} to {:.3g}, as fp32 has them", kLeastInFp32, kMostInFp32));
    }
    void zero_or_positive_in_fp32(const std::string& key, double value) {
        require(key, value, value == 0 || (value >= kLeastInFp32 && value <= kMostInFp32),
                fmt::format("0, or from {:.3g} to {:.3g}, as fp32 has them", kLeastInFp32, kMostInFp32));
    }
    void fraction_in_fp32(const std::string& key, double value) {
        require(key, value, value >= 0 && static_cast<float>(value) < 1, "0 or more and below 1 in fp32");
    }
    static constexpr double kLeastInFp32 = std::numeric_limits<float>::min();  // smaller ones lose digits, then vanish
    static constexpr double kMostInFp32 = std::numeric_limits<float>::max();
    void fraction(const std::string& key, double value) {
        require(key, value, value >= 0 && value < 1, "0 or more and below 1");
    }

    /// A rule between several keys that does not hold: reported under `key` without becoming that key's own limit.
    template <typename Value>
    void conflict(const std::string& key, const Value& value, const std::string& why, const std::string& remedy) {
        conflicts_.push_back(problem(key, shown(value), why, remedy));
    }

    /// Values outside their own key's limit, and rules between several keys that do not hold.
    const std::vector<Problem>& outside_limits() const { return outside_limits_; }
    const std::vector<Problem>& conflicts() const { return conflicts_; }
    /// Both, limits first.
    std::vector<Problem> problems() const;
    /// Key path to what is allowed, for each key that has a limit of its own.
    const std::map<std::string, std::string>& allowed() const { return allowed_; }

  private:
    void add(const std::string& key, const std::string& value, bool holds, const std::string& allowed,
             const std::string& remedy);
    Problem problem(const std::string& key, const std::string& value, const std::string& why,
                    const std::string& remedy) const;

    std::string prefix_;
    std::vector<Problem> outside_limits_;
    std::vector<Problem> conflicts_;
    std::map<std::string, std::string> allowed_;
};

}  // namespace smp::partition
