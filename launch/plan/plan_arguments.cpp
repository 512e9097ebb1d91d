#include "launch/plan/plan_arguments.h"

#include <algorithm>

#include <cxxopts.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/version.h"
#include "partition/job/problem.h"

namespace smp::launch {

namespace {

constexpr const char* kExample = R"(
A configuration that can be planned, job.json:
  {
    "model": {"preset": "gpt2"},
    "parallel": {"pipeline_parallel_degree": 4, "microbatches": 8},
    "training": {"steps": 1000, "batch_size": 16},
    "data": {"train": "corpus.bin"}
  }

Examples:
  smp_plan --config job.json                      layout, memory, time, warnings
  smp_plan --config job.json --set parallel.pipeline=zero_bubble
  smp_plan --config job.json --format schedule    a picture of it
  smp_plan --config job.json --format svg > schedule.svg
  smp_plan --config job.json --ranks 64 --format trace > plan.trace.json
  smp_plan --config job.json --check              exit code 0: it is proven
  smp_plan --plan runs/job/plan.json              the plan that a run has left
  smp_plan --help parallel                        keys of that section

Exit codes: 0 done, 1 internal error (a plan that cannot be executed too),
2 usage or configuration, 3 a saved plan that cannot be read or executed, or
output that cannot be written, 5 out of memory.
)";

cxxopts::Options options() {
    cxxopts::Options options("smp_plan", "Says what a training job would do, without doing it. It opens no data.");
    options.add_options()                                                                                        //
        ("config", "configuration file (JSON)", cxxopts::value<std::string>(), "FILE")                           //
        ("plan", "a saved plan (plan.json) in place of a configuration", cxxopts::value<std::string>(), "FILE")  //
        ("set", "override SECTION.KEY=VALUE (JSON or a bare string); any number of times",
         cxxopts::value<std::vector<std::string>>(), "KEY=VALUE")  //
        ("ranks", "plan for this many ranks (default: cluster.nodes * cluster.devices_per_node)", cxxopts::value<int>(),
         "N")  //
        ("launcher",
         "plan for ranks that are processes of an MPI job (mpi) or threads of one process (none); auto (default): "
         "threads, unless the job has several nodes",
         cxxopts::value<std::string>(), "NAME")                        //
        ("check", "prove the schedule, say so in one line, and stop")  //
        ("format",
         "text: for people (default); json: everything; summary: json without actions; trace: predicted timeline for "
         "Perfetto; schedule: diagram for a terminal; svg: predicted timeline as a picture",
         cxxopts::value<std::string>(), "NAME")                                      //
        ("search", "not yet")                                                        //
        ("fix", "not yet", cxxopts::value<std::vector<std::string>>(), "KEY=VALUE")  //
        ("write", "not yet", cxxopts::value<std::string>(), "N")                     //
        ("version", "versions of the program and of what it is built on");
    add_help(options);
    return options;
}

PlanFormat format_of(const std::string& word) {
    const auto& words = partition::Words<PlanFormat>::list;
    const auto* const found = std::find(words.begin(), words.end(), word);
    if (found == words.end())
        refuse_argument("--format", fmt::format("is \"{}\"; allowed are {}", word, fmt::join(words, ", ")));
    return static_cast<PlanFormat>(found - words.begin());
}

PlanArguments take(const cxxopts::ParseResult& parsed) {
    PlanArguments arguments;
    for (const char* later : {"search", "fix", "write"})
        if (parsed.count(later) != 0)
            refuse_argument(fmt::format("--{}", later), "is not yet available in this version");
    if (!parsed.unmatched().empty())
        refuse_argument(parsed.unmatched().front(), "is no option of smp_plan; see smp_plan --help");
    if (parsed.count("plan") != 0) {
        for (const char* of_job : {"config", "set", "ranks", "launcher"})
            if (parsed.count(of_job) != 0)
                refuse_argument(fmt::format("--{}", of_job),
                                "has no place beside --plan, whose file is planned already; leave one out");
        arguments.plan = parsed["plan"].as<std::string>();
    } else if (parsed.count("config") == 0) {
        refuse_argument("--config",
                        "is missing: name the configuration file, as in smp_plan --config configs/quickstart.json, or "
                        "a saved plan with --plan");
    } else {
        arguments.config = parsed["config"].as<std::string>();
    }
    arguments.sets = all_of(parsed, "set");
    if (parsed.count("ranks") != 0) {
        arguments.ranks = parsed["ranks"].as<int>();
        if (*arguments.ranks < 1)
            refuse_argument("--ranks", fmt::format("is {}; at least 1 rank is needed", *arguments.ranks));
    }
    if (parsed.count("launcher") != 0) {
        const auto word = parsed["launcher"].as<std::string>();
        if (word == "mpi")
            arguments.transport = partition::Transport::messages;
        else if (word == "none")
            arguments.transport = partition::Transport::shared_memory;
        else if (word != "auto")
            refuse_argument("--launcher", fmt::format("is \"{}\"; allowed are auto, mpi, none", word));
    }
    arguments.check_only = parsed.count("check") != 0;
    if (parsed.count("format") != 0) {
        if (arguments.check_only)
            refuse_argument("--format", "has no place beside --check, which prints one line; leave one out");
        arguments.format = format_of(parsed["format"].as<std::string>());
    }
    return arguments;
}

}  // namespace

PlanArguments parse_plan_arguments(int argc, const char* const* argv) {
    try {
        auto description = options();
        const auto parsed = description.parse(argc, argv);
        PlanArguments answer;
        if (parsed.count("help") != 0) answer.answer = help_text(description, parsed, kExample);
        if (parsed.count("version") != 0) answer.answer = version_text("smp_plan");
        return answer.answer ? answer : take(parsed);
    } catch (const partition::ConfigError&) {
        throw;
    } catch (const std::exception& error) {  // cxxopts' own class has another name in older versions
        refuse_argument("command line:", std::string(error.what()) + "; see smp_plan --help");
    }
}

}  // namespace smp::launch
