#include "launch/command/config_arguments.h"

#include "partition/job/problem.h"

namespace smp::launch {

void refuse_argument(const std::string& option, const std::string& message) {
    throw partition::ConfigError(partition::Problem{option, message});
}

std::vector<std::string> all_of(const cxxopts::ParseResult& parsed, std::string_view option) {
    std::vector<std::string> values;
    for (const auto& argument : parsed.arguments())
        if (argument.key() == option) values.push_back(argument.value());
    return values;
}

}  // namespace smp::launch
