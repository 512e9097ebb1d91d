// How a room says what is wrong with its options: a list of problems, each with the key it is about, so that all of
// them can be reported at once.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace smp::partition {

/// `key` is a path such as "parallel.microbatches"; `message` says the value, what is allowed and what to do: "= 6:
/// must be …; set …". `origin` is the file or the command-line option that stated it, where a room's options do not
/// come from code.
struct Problem {
    std::string key;
    std::string message;
    std::string origin = {};

    bool operator==(const Problem&) const = default;
};

/// The configuration cannot be used. what() holds one line a problem: "<origin>: <key> <message>".
class ConfigError : public std::runtime_error {
  public:
    explicit ConfigError(std::vector<Problem> problems);
    explicit ConfigError(Problem problem);
    const std::vector<Problem>& problems() const { return problems_; }

  private:
    std::vector<Problem> problems_;
};

}  // namespace smp::partition
