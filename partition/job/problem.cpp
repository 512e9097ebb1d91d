#include "partition/job/problem.h"

#include <utility>

namespace smp::partition {
namespace {

std::string text_of(const std::vector<Problem>& problems) {
    std::string text;
    for (const Problem& problem : problems) {
        if (!text.empty()) text += '\n';
        if (!problem.origin.empty()) text += problem.origin + ": ";
        text += problem.key;
        if (!problem.key.empty() && !problem.message.empty()) text += ' ';
        text += problem.message;
    }
    return text;
}

}  // namespace

ConfigError::ConfigError(std::vector<Problem> problems)
    : std::runtime_error(text_of(problems)), problems_(std::move(problems)) {}

ConfigError::ConfigError(Problem problem) : ConfigError(std::vector{std::move(problem)}) {}

}  // namespace smp::partition
