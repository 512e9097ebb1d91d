#include "launch/command/config_arguments.h"

#include "partition/job/problem.h"

namespace smp::launch {

void refuse_argument(const std::string& option, const std::string& message) {
    throw partition::ConfigError(partition::Problem{option, message});
}

std::vector<std::string> sets_of(const cxxopts::ParseResult& parsed) {
    std::vector<std::string> sets;
    for (const auto& argument : parsed.arguments())
        if (argument.key() == "set") sets.push_back(argument.value());
    return sets;
}

}  // namespace smp::launch
