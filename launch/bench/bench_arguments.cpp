#include "launch/bench/bench_arguments.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <filesystem>
#include <string_view>

#include <cxxopts.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comms/device/rank_device.h"
#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/version.h"
#include "partition/job/problem.h"

namespace smp::launch {

namespace {

using Text = std::string;

constexpr const char* kJobExamples = R"(
Examples:
  smp_bench --config job.json --ranks 2 --steps 3 \
    --sweep parallel.pipeline_parallel_degree=1,2 \
    --sweep parallel.microbatches=2,4
  mpirun -np 2 smp_bench --config job.json --steps 3 --output layouts.json
  smp_bench --config job.json --ranks 1,2 --steps 3          scaling
  smp_bench --config job.json --ranks 2 --steps 3 --baseline layouts.json

Each configuration is set up anew in each round, warmed up, timed, and traced in
further steps; nothing is left on the disk. Data are the job's: encode large
texts first (smp_data encode), which are tokenised each time otherwise.
--baseline: slower or faster is what differs in its median by more than half of
both interquartile ranges together and more than 2 %.

Other commands: smp_bench links, smp_bench operators, smp_bench report
(each has --help).

Exit codes: 0 done, 1 internal error, 2 usage or configuration, or nothing
could be measured, 3 data missing or corrupt, 4 another rank failed or a wait
ran past its limit, 5 out of memory, 7 slower, with --fail-on-slower.
)";

constexpr const char* kLinksExamples = R"(
Examples:
  smp_bench links --ranks 2
  mpirun -np 2 smp_bench links --format csv

Latency is half of a round trip of 8 bytes, bandwidth the bytes of a large
message over half of its round trip. Up to 16 ranks pairs take turns; beyond,
disjoint pairs are measured at the same time.
)";

constexpr const char* kOperatorsExamples = R"(
Examples:
  smp_bench operators --config job.json --repeats 3
  smp_bench operators --config job.json --repeats 3 --set parallel.bf16=true

Shapes are those of one rank and one microbatch of the job, threads those of
cluster.threads_per_rank, else all processors of this machine.
)";

struct CommandFacts {
    std::string_view word;
    BenchCommand command;
    const char* purpose;
    const char* examples;
};
constexpr std::array<CommandFacts, 3> kCommands = {{
    {"", BenchCommand::job, "Measures a job, or several configurations of it side by side.", kJobExamples},
    {"links", BenchCommand::links, "Measures what lies between ranks: every pair, and collectives of all.",
     kLinksExamples},
    {"operators", BenchCommand::operators, "Measures the operators of a job's model alone.", kOperatorsExamples},
}};

std::string program_of(const CommandFacts& facts) {
    return facts.word.empty() ? "smp_bench" : fmt::format("smp_bench {}", facts.word);
}

cxxopts::Options options_of(const CommandFacts& facts) {
    cxxopts::Options options(program_of(facts), facts.purpose);
    const auto text = [] { return cxxopts::value<Text>(); };
    const auto texts = [] { return cxxopts::value<std::vector<Text>>(); };
    const auto number = [](const char* standard) { return cxxopts::value<int>()->default_value(standard); };
    auto add = options.add_options();
    const bool is_job = facts.command == BenchCommand::job;
    if (facts.command != BenchCommand::links) {
        add("config", "configuration file (JSON)", text(), "FILE");
        add("set", "override SECTION.KEY=VALUE (JSON or a bare string); any number of times", texts(), "KEY=VALUE");
    }
    if (is_job) {
        add("sweep", "compare these values of SECTION.KEY; any number of times: every combination", texts(),
            "KEY=V1,V2,...");
        add("overrides",
            "compare configurations: a JSON file with the keys that one of them overrides, as in a configuration; any "
            "number of times",
            texts(), "FILE");
        add("ranks",
            "local mode: so many ranks as threads of this process (default: the most that a layout needs); several, "
            "1,2,4: scaling, also in a part of mpirun's ranks",
            texts(), "N[,N...]");
        add("rounds", "in each of which all configurations take turns", number("3"), "N");
        add("steps", "timed ones of a configuration in a round", number("5"), "N");
        add("warm-up", "steps ahead of them", number("2"), "N");
        add("traced", "steps behind them, for bubble and exposed communication; 0: none", number("1"), "N");
        add("peak-tflops", "peak of one rank's device, for MFU", cxxopts::value<double>(), "X");
        add("baseline", "say what got slower or faster since this result (JSON of --output)", text(), "FILE");
        add("fail-on-slower", "with --baseline: exit code 7 where something got slower");
    } else if (facts.command == BenchCommand::links) {
        add("ranks", "local mode: so many ranks as threads of this process (default: 2)", texts(), "N");
        add("bytes", "of a large message", cxxopts::value<std::int64_t>()->default_value("4194304"), "N");
    }
    if (!is_job) add("repeats", "of each measurement, whose median counts", number("20"), "N");
    if (facts.command != BenchCommand::operators)
        add("launcher", "what makes this process a rank; auto: MPI where mpirun has started it; none: local mode",
            text(), "auto|mpi|none");
    add("format", "text, markdown, json or csv (default: by the ending of --output, else text)", text(), "NAME");
    add("output", "write the result to this file, and a table to standard output", text(), "FILE");
    add("version", "versions of the program and of what it is built on");
    if (facts.command == BenchCommand::links)
        add("h,help", "this text");
    else
        add_help(options);
    return options;
}

int at_least(const cxxopts::ParseResult& parsed, const std::string& option, int least) {
    const int value = parsed[option].as<int>();
    if (value < least) refuse_argument("--" + option, fmt::format("is {}; it must be at least {}", value, least));
    return value;
}

/// "1,2,4": rising.
std::vector<int> ranks_of(const cxxopts::ParseResult& parsed, bool may_be_several) {
    std::vector<int> ranks;
    for (const Text& list : all_of(parsed, "ranks")) {
        std::string_view rest = list;
        while (true) {
            const std::string_view word = rest.substr(0, rest.find(','));
            int count = 0;
            const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), count);
            if (error != std::errc{} || end != word.data() + word.size() || count < 1)
                refuse_argument("--ranks",
                                fmt::format("has \"{}\"; numbers of ranks are 1 or more, as in --ranks 1,2,4", word));
            ranks.push_back(count);
            if (word.size() == rest.size()) break;
            rest.remove_prefix(word.size() + 1);
        }
    }
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    if (!may_be_several && ranks.size() > 1)
        refuse_argument("--ranks", "has several numbers; this command measures one world");
    return ranks;
}

ReportFormat format_of(const cxxopts::ParseResult& parsed, const std::string& output) {
    constexpr std::array<std::pair<const char*, ReportFormat>, 3> kEndings = {
        {{".json", ReportFormat::json}, {".csv", ReportFormat::csv}, {".md", ReportFormat::markdown}}};
    if (parsed.count("format") == 0) {
        for (const auto& [ending, format] : kEndings)
            if (output.ends_with(ending)) return format;
        return ReportFormat::text;
    }
    const auto& word = parsed["format"].as<Text>();
    const auto& words = partition::Words<ReportFormat>::list;
    const auto* const found = std::find(words.begin(), words.end(), word);
    if (found == words.end())
        refuse_argument("--format", fmt::format("is \"{}\"; allowed are {}", word, fmt::join(words, ", ")));
    return static_cast<ReportFormat>(found - words.begin());
}

/// Late is bad: what was measured would be lost.
void refuse_output(const std::string& output) {
    const auto folder = std::filesystem::absolute(output).parent_path();
    if (std::filesystem::is_directory(output))
        refuse_argument("--output", fmt::format("is {}, a folder; name a file in it", output));
    if (!std::filesystem::is_directory(folder))
        refuse_argument("--output",
                        fmt::format("is {}, but there is no folder {}; create it first", output, folder.string()));
}

void take_job(const cxxopts::ParseResult& parsed, BenchArguments& arguments) {
    arguments.sweeps = all_of(parsed, "sweep");
    arguments.overrides = all_of(parsed, "overrides");
    arguments.measuring = {.rounds = at_least(parsed, "rounds", 1),
                           .warm_up = at_least(parsed, "warm-up", 0),
                           .steps = at_least(parsed, "steps", 1),
                           .traced = at_least(parsed, "traced", 0)};
    if (parsed.count("peak-tflops") != 0) {
        const double peak = parsed["peak-tflops"].as<double>();
        if (!(peak > 0)) refuse_argument("--peak-tflops", fmt::format("is {}; it must be above 0", peak));
        arguments.peak_flops = 1e12 * peak;
    }
    if (parsed.count("baseline") != 0) arguments.baseline = parsed["baseline"].as<Text>();
    arguments.fails_on_slower = parsed.count("fail-on-slower") != 0;
    if (arguments.fails_on_slower && arguments.baseline.empty())
        refuse_argument("--fail-on-slower", "has nothing to compare with; add --baseline FILE.json");
}

BenchArguments take(const CommandFacts& facts, const cxxopts::ParseResult& parsed, int argc, const char* const* argv) {
    BenchArguments arguments;
    arguments.command = facts.command;
    if (!parsed.unmatched().empty())
        refuse_argument(parsed.unmatched().front(),
                        fmt::format("is no option of {0}; see {0} --help", program_of(facts)));
    if (facts.command != BenchCommand::links) {
        if (parsed.count("config") == 0)
            refuse_argument("--config", fmt::format("is missing: name the configuration file, as in {} --config "
                                                    "configs/quickstart.json",
                                                    program_of(facts)));
        arguments.config = parsed["config"].as<Text>();
        arguments.sets = all_of(parsed, "set");
    }
    if (facts.command == BenchCommand::job) take_job(parsed, arguments);
    if (facts.command != BenchCommand::job) arguments.repeats = at_least(parsed, "repeats", 1);
    if (facts.command == BenchCommand::links) {
        arguments.bytes = parsed["bytes"].as<std::int64_t>();
        if (arguments.bytes < 8 || arguments.bytes > std::int64_t{1} << 30)
            refuse_argument("--bytes", fmt::format("is {}; it must be from 8 to 2^30", arguments.bytes));
    }
    if (facts.command != BenchCommand::operators) {
        arguments.ranks = ranks_of(parsed, facts.command == BenchCommand::job);
        if (parsed.count("launcher") != 0) {
            const auto& word = parsed["launcher"].as<Text>();
            arguments.launcher = launcher_of(argc, argv);
            if (arguments.launcher == Launcher::automatic && word != "auto")
                refuse_argument("--launcher", fmt::format("is {}; allowed are auto, mpi and none", word));
        }
    }
    if (parsed.count("output") != 0) {
        arguments.output = parsed["output"].as<Text>();
        refuse_output(arguments.output);
    }
    arguments.format = format_of(parsed, arguments.output);
    return arguments;
}

}  // namespace

BenchArguments parse_bench_arguments(int argc, const char* const* argv) {
    const std::string_view word = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
    const auto* const facts =
        std::find_if(kCommands.begin(), kCommands.end(), [&](const CommandFacts& known) { return known.word == word; });
    if (facts == kCommands.end())
        refuse_argument("command", fmt::format("\"{}\" is unknown: links, operators or report, or --config FILE for a "
                                               "benchmark job; see smp_bench --help",
                                               word));
    const int skipped = word.empty() ? 0 : 1;
    cxxopts::Options options = options_of(*facts);
    try {
        const auto parsed = options.parse(argc - skipped, argv + skipped);
        BenchArguments answer;
        answer.command = facts->command;
        if (parsed.count("version") != 0) answer.answer = version_text("smp_bench", comms::described_cuda_devices());
        if (parsed.count("help") != 0) {
            options.set_width(help_width());
            answer.answer = facts->command == BenchCommand::links ? options.help() + facts->examples
                                                                  : help_text(options, parsed, facts->examples);
        }
        return answer.answer ? answer : take(*facts, parsed, argc, argv);
    } catch (const partition::ConfigError&) {
        throw;
    } catch (const std::exception& error) {  // cxxopts' own class has another name in each version
        refuse_argument("command line:", fmt::format("{}; see {} --help", error.what(), program_of(*facts)));
    }
}

}  // namespace smp::launch
