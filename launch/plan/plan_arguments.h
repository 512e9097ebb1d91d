// The command line of smp_plan.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partition/job/reduction_scratch.h"
#include "partition/job/words.h"

namespace smp::launch {

enum class PlanFormat {
    text,      // for people
    json,      // everything
    summary,   // the same without programs and model
    trace,     // predicted timeline, for Perfetto
    schedule,  // the diagram
    svg,       // the predicted timeline as a picture
};

struct PlanArguments {
    std::string config;             // or
    std::string plan;               // a saved plan.json; exactly one of the two
    std::vector<std::string> sets;  // "SECTION.KEY=VALUE", in order
    std::optional<int> ranks;       // else what the configuration states
    /// Of --launcher: processes exchange messages, threads of one process share memory; none: by the number of nodes.
    std::optional<partition::Transport> transport;
    bool check_only = false;
    PlanFormat format = PlanFormat::text;
    /// Text to print instead of planning: --help, --version.
    std::optional<std::string> answer;
};

/// Throws partition::ConfigError for anything that smp_plan does not know or cannot do yet.
PlanArguments parse_plan_arguments(int argc, const char* const* argv);

}  // namespace smp::launch

namespace smp::partition {

template <>
struct Words<launch::PlanFormat> {
    static constexpr std::array<std::string_view, 6> list = {"text", "json", "summary", "trace", "schedule", "svg"};
};

}  // namespace smp::partition
