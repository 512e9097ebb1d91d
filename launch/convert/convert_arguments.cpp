#include "launch/convert/convert_arguments.h"

#include <algorithm>
#include <exception>
#include <filesystem>

#include <cxxopts.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/version.h"

namespace smp::launch {
namespace {

constexpr const char* kGeneralHelp =
    R"(Checkpoints: a look inside, every sum checked, from and to other programs'
files, from one layout to another. CHECKPOINT: a folder with a manifest.json;
where one is read, a run's output directory stands for its newest one.
Usage:
  smp_convert inspect  CHECKPOINT [--format text|json]
  smp_convert verify   CHECKPOINT
  smp_convert export   CHECKPOINT HF_DIR [--format huggingface|llmc]
  smp_convert import   SOURCE CHECKPOINT
  smp_convert relayout CHECKPOINT NEW --config FILE

smp_convert inspect --help, and likewise for the others, lists the options;
--version says what this program is made of.

Examples:
  smp_convert verify runs/job
  smp_convert export runs/job gpt2-mine
  smp_convert import gpt2-mine step_00000000

Exit codes: 0 done, 1 internal error, 2 usage or configuration, 3 checkpoint or
model missing or corrupt, 5 out of memory.
)";

constexpr const char* kInspectExamples = R"(
Examples:
  smp_convert inspect runs/job
  smp_convert inspect runs/job/checkpoints/step_00000100 --format json
)";
constexpr const char* kVerifyExamples = R"(
Examples:
  smp_convert verify runs/job
  smp_convert verify runs/job/checkpoints/step_00000100
)";
constexpr const char* kExportExamples = R"(
Examples:
  smp_convert export runs/job gpt2-mine
  smp_convert export runs/job gpt2-mine.bin --format llmc
)";
constexpr const char* kImportExamples = R"(
Examples:
  smp_convert import gpt2-mine step_00000000
  smp_train --config job.json --resume step_00000000
)";
constexpr const char* kRelayoutExamples = R"(
Examples:
  smp_convert relayout runs/job step_00000100 --config job.json
  smp_convert relayout runs/job tensor_parallel --config job.json \
    --set parallel.tensor_parallel_degree=2
)";

struct CommandFacts {
    std::string_view word;
    ConvertCommand command;
    const char* purpose;
    std::vector<std::string> paths;
    const char* examples;
};

const std::vector<CommandFacts>& commands() {
    using enum ConvertCommand;
    static const std::vector<CommandFacts> all = {
        {"inspect", inspect, "Shows what a checkpoint holds.", {"CHECKPOINT"}, kInspectExamples},
        {"verify", verify, "Checks every sum of a checkpoint.", {"CHECKPOINT"}, kVerifyExamples},
        {"export",
         export_model,
         "Writes the model of a checkpoint as transformers or llm.c read it.",
         {"CHECKPOINT", "TARGET"},
         kExportExamples},
        {"import",
         import_model,
         "Makes a checkpoint of step 0 out of a Hugging Face GPT-2 folder, a .safetensors\n"
         "file with its config.json beside it, or llm.c's .bin.",
         {"SOURCE", "CHECKPOINT"},
         kImportExamples},
        {"relayout",
         relayout,
         "Writes the state of a checkpoint in the files of another job's ranks.",
         {"CHECKPOINT", "NEW"},
         kRelayoutExamples},
    };
    return all;
}

using Text = std::string;

cxxopts::Options options_of(const CommandFacts& facts) {
    cxxopts::Options options(fmt::format("smp_convert {}", facts.word), facts.purpose);
    auto add = options.add_options();
    if (facts.command == ConvertCommand::inspect)
        add("format", "text (default) or json", cxxopts::value<Text>(), "NAME");
    if (facts.command == ConvertCommand::export_model)
        add("format", "huggingface (default: a folder) or llmc (a file)", cxxopts::value<Text>(), "NAME");
    if (facts.command == ConvertCommand::relayout) {
        add("config", "configuration of the job that is to go on (JSON)", cxxopts::value<Text>(), "FILE");
        add("set", "override SECTION.KEY=VALUE of --config; any number of times", cxxopts::value<std::vector<Text>>(),
            "KEY=VALUE");
        add("ranks", "ranks of the job (default: as the configuration states)", cxxopts::value<int>(), "N");
    }
    add("version", "versions of the program and of what it is built on");
    add("h,help", "this text");
    options.add_options("paths")("path", "", cxxopts::value<std::vector<Text>>());
    options.parse_positional({"path"});
    options.positional_help(fmt::format("{}", fmt::join(facts.paths, " ")));
    return options;
}

cxxopts::ParseResult parse(cxxopts::Options& options, std::string_view command, int argc, const char* const* argv) {
    try {
        return options.parse(argc, argv);
    } catch (const std::exception& error) {  // the class has another name in each version of cxxopts
        refuse_argument("command line:", fmt::format("{}; see smp_convert {} --help", error.what(), command));
    }
}

/// The value of option --format by its word, if it is given.
template <class Enum>
Enum format_in(const cxxopts::ParseResult& parsed) {
    const auto& words = partition::Words<Enum>::list;
    if (parsed.count("format") == 0) return {};
    const auto& word = parsed["format"].as<Text>();
    const auto found = std::find(words.begin(), words.end(), word);
    if (found == words.end())
        refuse_argument("--format", fmt::format("is \"{}\"; allowed are {}", word, fmt::join(words, ", ")));
    return static_cast<Enum>(found - words.begin());
}

/// Said before any work is done; the writers would refuse too.
void refuse_to_overwrite(const std::string& name, const std::filesystem::path& target) {
    std::error_code none;
    const bool is_there = std::filesystem::exists(std::filesystem::symlink_status(target, none));
    const bool is_empty = std::filesystem::is_directory(target, none) && std::filesystem::is_empty(target, none);
    if (is_there && !is_empty)
        refuse_argument(name, fmt::format("is \"{}\", which exists already; choose another name, or remove it first",
                                          target.string()));
}

ConvertArguments take(const CommandFacts& facts, const cxxopts::ParseResult& parsed) {
    ConvertArguments arguments;
    arguments.command = facts.command;
    std::vector<std::string> paths;  // cxxopts itself would cut them at commas
    for (const auto& argument : parsed.arguments())
        if (argument.key() == "path") paths.push_back(argument.value());
    if (paths.size() < facts.paths.size())
        refuse_argument(facts.paths[paths.size()],
                        fmt::format("is missing: smp_convert {} {}; see smp_convert {} --help", facts.word,
                                    fmt::join(facts.paths, " "), facts.word));
    if (paths.size() > facts.paths.size())
        refuse_argument(
            fmt::format("\"{}\"", paths[facts.paths.size()]),
            fmt::format("is one path too many: smp_convert {} {}", facts.word, fmt::join(facts.paths, " ")));
    arguments.source = paths.front();
    if (paths.size() > 1) {
        arguments.target = paths.back();
        refuse_to_overwrite(facts.paths.back(), arguments.target);
    }
    if (facts.command == ConvertCommand::inspect) arguments.report = format_in<ReportFormat>(parsed);
    if (facts.command == ConvertCommand::export_model) arguments.model = format_in<ModelFormat>(parsed);
    if (facts.command != ConvertCommand::relayout) return arguments;
    if (parsed.count("config") == 0)
        refuse_argument("--config", "is missing: name the configuration whose layout NEW is to have");
    arguments.config = parsed["config"].as<Text>();
    arguments.sets = all_of(parsed, "set");
    if (parsed.count("ranks") == 0) return arguments;
    arguments.ranks = parsed["ranks"].as<int>();
    if (*arguments.ranks < 1)
        refuse_argument("--ranks", fmt::format("is {}; at least 1 rank is needed", *arguments.ranks));
    return arguments;
}

}  // namespace

ConvertArguments parse_convert_arguments(int argc, const char* const* argv) {
    const std::string_view word = argc > 1 ? argv[1] : "";
    ConvertArguments answer;
    if (word == "--help" || word == "-h" || word == "help") {
        answer.answer = kGeneralHelp;
        return answer;
    }
    if (word == "--version") {
        answer.answer = version_text("smp_convert");
        return answer;
    }
    const auto facts = std::find_if(commands().begin(), commands().end(),
                                    [&](const CommandFacts& known) { return known.word == word; });
    if (facts == commands().end()) {
        constexpr const char* kAll = "inspect, verify, export, import or relayout; see smp_convert --help";
        refuse_argument("command", word.empty() ? fmt::format("is missing: {}", kAll)
                                                : fmt::format("\"{}\" is unknown: {}", word, kAll));
    }
    cxxopts::Options options = options_of(*facts);
    const cxxopts::ParseResult parsed = parse(options, word, argc - 1, argv + 1);
    options.set_width(help_width());
    if (parsed.count("help") != 0) answer.answer = options.help({""}) + facts->examples;
    if (parsed.count("version") != 0) answer.answer = version_text("smp_convert");
    return answer.answer ? answer : take(*facts, parsed);
}

}  // namespace smp::launch
