#include "launch/data/data_arguments.h"

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <string_view>

#include <cxxopts.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/version.h"
#include "runtime/data/dataset.h"
#include "runtime/data/token_file_layout.h"

namespace smp::launch {
namespace {

constexpr const char* kGeneralHelp = R"(Token files: text into tokens, a look inside, and back into text.
Usage:
  smp_data encode  --input TEXT... --output FILE.bin [options]
  smp_data inspect FILE... [options]
  smp_data decode  FILE... [options]

smp_data encode --help, and likewise for the others, lists the options;
--version says what this program is made of.

Example:
  smp_data encode --input plays.txt --output plays.bin --tokenizer gpt2
  smp_data inspect plays.bin
  smp_data decode plays.bin --tokenizer gpt2 --count 100

Exit codes: 0 done, 1 internal error, 2 usage or configuration, 3 data missing
or corrupt, 5 out of memory.
)";

constexpr const char* kEncodeExamples = R"(
Examples:
  smp_data encode --input plays.txt --output plays.bin --tokenizer gpt2
  smp_data encode --input 'corpus/*.jsonl' --documents jsonl --append-eot \
    --tokenizer gpt2 --format megatron --output corpus.bin
)";
constexpr const char* kInspectExamples = R"(
Examples:
  smp_data inspect corpus.bin
  smp_data inspect --config configs/quickstart.json     its section data
)";
constexpr const char* kDecodeExamples = R"(
Examples:
  smp_data decode corpus.bin --tokenizer gpt2 | less
  smp_data decode corpus.bin --tokenizer gpt2 --first 1024 --count 256 \
    --output piece.txt
)";

struct CommandFacts {
    std::string_view word;
    DataCommand command;
    const char* purpose;
    const char* examples;
};
constexpr std::array<CommandFacts, 3> kCommands = {{
    {"encode", DataCommand::encode, "Makes one token file out of text files.", kEncodeExamples},
    {"inspect", DataCommand::inspect, "Shows what token files hold.", kInspectExamples},
    {"decode", DataCommand::decode, "Turns tokens back into text.", kDecodeExamples},
}};

using Text = std::string;

cxxopts::Options options_of(const CommandFacts& facts) {
    cxxopts::Options options(fmt::format("smp_data {}", facts.word), facts.purpose);
    const auto text = [] { return cxxopts::value<Text>(); };
    const auto texts = [] { return cxxopts::value<std::vector<Text>>(); };
    auto add = options.add_options();
    add("config", "take tokenizer, format, vocabulary and files from this configuration (JSON)", text(), "FILE");
    add("set", "override SECTION.KEY=VALUE of --config; any number of times", texts(), "KEY=VALUE");
    add("tokenizer", "bytes (default) or gpt2", text(), "NAME");
    add("tokenizer-file", "vocabulary, one \"base64(token) rank\" a line (default: GPT-2's, which is built in)", text(),
        "FILE");
    add("input", "file or glob; any number of times, --input may be left out", texts(), "FILE");
    if (facts.command == DataCommand::encode) {
        add("output", "token file to make, FILE.bin", text(), "FILE");
        add("format", "nanogpt (default: nothing but tokens), llmc or megatron (.bin and .idx)", text(), "NAME");
        add("documents",
            "what a document is: file (default), line, paragraph (between empty lines) or jsonl (an object a line)",
            text(), "RULE");
        add("json-key", "where the text is in each object of jsonl", cxxopts::value<Text>()->default_value("text"),
            "KEY");
        add("append-eot", "write <|endoftext|> after each document");
        add("special-tokens", "take \"<|endoftext|>\" in the text for that token");
        add("force", "replace the output if it exists");
    } else {
        add("format", "auto (default), text, nanogpt, llmc or megatron", text(), "NAME");
        add("token-bytes", "of one token in nanogpt files: 2, 4 or 8", cxxopts::value<int>(), "N");
        add("vocab-size",
            "of the tokens: nanogpt files have 4 bytes a token above 65536 (default: that of --config, else 2 bytes)",
            cxxopts::value<std::int64_t>(), "N");
    }
    if (facts.command == DataCommand::decode) {
        add("first", "first token, counted from 0", cxxopts::value<std::int64_t>(), "N");
        add("count", "number of tokens (default: all that follow)", cxxopts::value<std::int64_t>(), "N");
        add("output", "file for the text (default: standard output)", text(), "FILE");
        add("force", "replace the output if it exists");
    }
    add("version", "versions of the program and of what it is built on");
    add("h,help", "this text");
    options.parse_positional({"input"});
    options.positional_help(facts.command == DataCommand::encode ? "TEXT..." : "FILE...");
    return options;
}

cxxopts::ParseResult parse(cxxopts::Options& options, std::string_view command, int argc, const char* const* argv) {
    try {
        return options.parse(argc, argv);
    } catch (const std::exception& error) {  // the class has another name in each version of cxxopts
        refuse_argument("command line:", fmt::format("{}; see smp_data {} --help", error.what(), command));
    }
}

/// The value of an enumeration by its word. `allowed` are the enumerators that make sense for the option.
template <class Enum>
Enum value_of(const std::string& option, const std::string& word, std::initializer_list<Enum> allowed) {
    std::vector<std::string> words;
    for (const Enum value : allowed) {
        if (word == partition::word_of(value)) return value;
        words.push_back(partition::word_of(value));
    }
    refuse_argument(option, fmt::format("is \"{}\"; allowed are {}", word, fmt::join(words, ", ")));
}

void take_config(const cxxopts::ParseResult& parsed, DataArguments& arguments) {
    const std::vector<std::string> sets = all_of(parsed, "set");
    if (parsed.count("config") == 0) {
        if (!sets.empty())
            refuse_argument(
                "--set",
                fmt::format("{} overrides a configuration, but --config is missing; use the options of this command",
                            sets.front()));
        return;
    }
    const Config config = load_config(parsed["config"].as<Text>(), sets);
    arguments.data = config.data;
    arguments.tokenizer_given = true;
    arguments.vocab_size = config.gpt2.vocab_size;
    arguments.sequence_length = runtime::sequence_length(config.training, config.gpt2.n_positions);
}

/// Said before any work is done; the writer would refuse too.
void refuse_to_overwrite(const DataArguments& arguments) {
    std::error_code ignored;
    if (arguments.force || arguments.output.empty() || !std::filesystem::exists(arguments.output, ignored)) return;
    refuse_argument("--output",
                    fmt::format("is \"{}\", which exists already; choose another name, or add --force to replace it",
                                arguments.output));
}

/// --force or not: what is read would be gone. Megatron's .idx beside the output counts as output.
void refuse_inputs_as_output(const DataArguments& arguments) {
    if (arguments.output.empty()) return;
    const std::filesystem::path outputs[] = {arguments.output, runtime::index_path(arguments.output)};
    for (const std::string& input : arguments.inputs) {
        for (const std::filesystem::path& file : runtime::matching_files(input)) {
            std::error_code none;  // of what is not there
            for (const auto& output : outputs) {
                if (std::filesystem::equivalent(file, output, none))
                    refuse_argument("--output", fmt::format("is \"{}\", and so would replace the input \"{}\"; choose "
                                                            "another name",
                                                            arguments.output, file.string()));
            }
        }
    }
}

void take_encode(const cxxopts::ParseResult& parsed, DataArguments& arguments) {
    using runtime::DataFormat;
    if (parsed.count("format") != 0) {
        arguments.output_format = value_of("--format", parsed["format"].as<Text>(),
                                           {DataFormat::nanogpt, DataFormat::llmc, DataFormat::megatron});
    }
    if (parsed.count("documents") != 0) {
        using enum DocumentRule;
        arguments.cut.rule = value_of("--documents", parsed["documents"].as<Text>(), {file, line, paragraph, jsonl});
    }
    arguments.cut.json_key = parsed["json-key"].as<Text>();
    if (parsed.count("json-key") != 0 && arguments.cut.rule != DocumentRule::jsonl) {
        refuse_argument("--json-key", "names a key of JSON objects; add --documents jsonl or leave it out");
    }
    arguments.append_eot = parsed.count("append-eot") != 0;
    arguments.special_tokens = parsed.count("special-tokens") != 0;
    for (const char* option : {"append-eot", "special-tokens"}) {
        if (parsed.count(option) != 0 && arguments.data.tokenizer == runtime::Tokenizer::bytes) {
            refuse_argument(fmt::format("--{}", option),
                            "needs a tokenizer that has <|endoftext|>; add --tokenizer gpt2 or leave it out");
        }
    }
    if (arguments.output.empty())
        refuse_argument("--output", "is missing: name the token file to make, as in --output FILE.bin");
}

void take_range(const cxxopts::ParseResult& parsed, DataArguments& arguments) {
    if (parsed.count("first") != 0) arguments.first = parsed["first"].as<std::int64_t>();
    if (parsed.count("count") != 0) arguments.count = parsed["count"].as<std::int64_t>();
    if (arguments.first < 0) refuse_argument("--first", fmt::format("is {}; tokens count from 0", arguments.first));
    if (arguments.count.value_or(0) < 0)
        refuse_argument("--count", fmt::format("is {}; it must be 0 or more", *arguments.count));
}

DataArguments take(const CommandFacts& facts, const cxxopts::ParseResult& parsed) {
    using runtime::DataFormat;
    DataArguments arguments;
    arguments.command = facts.command;
    take_config(parsed, arguments);
    arguments.inputs = all_of(parsed, "input");
    if (arguments.inputs.empty() && facts.command == DataCommand::inspect && parsed.count("config") != 0) {
        for (const std::string& pattern : {arguments.data.train, arguments.data.validation}) {
            if (!pattern.empty()) arguments.inputs.push_back(pattern);
        }
    }
    if (arguments.inputs.empty())
        refuse_argument("--input", fmt::format("is missing: name the files to {}", facts.word));
    if (parsed.count("tokenizer") != 0) {
        using enum runtime::Tokenizer;
        arguments.data.tokenizer = value_of("--tokenizer", parsed["tokenizer"].as<Text>(), {bytes, gpt2});
        arguments.tokenizer_given = true;
    }
    if (parsed.count("tokenizer-file") != 0) {
        arguments.data.tokenizer_file = parsed["tokenizer-file"].as<Text>();
        if (arguments.data.tokenizer == runtime::Tokenizer::bytes)
            refuse_argument("--tokenizer-file", "is a vocabulary, which bytes do not need; add --tokenizer gpt2");
    }
    // Not every command has the options below.
    if (facts.command != DataCommand::inspect) {
        if (parsed.count("output") != 0) arguments.output = parsed["output"].as<Text>();
        arguments.force = parsed.count("force") != 0;
        refuse_to_overwrite(arguments);
    }
    if (facts.command == DataCommand::encode) {
        take_encode(parsed, arguments);
        refuse_inputs_as_output(arguments);
        return arguments;
    }
    if (parsed.count("format") != 0) {
        using enum DataFormat;
        arguments.data.format =
            value_of("--format", parsed["format"].as<Text>(), {automatic, text, nanogpt, llmc, megatron});
    }
    if (parsed.count("token-bytes") != 0) {
        const int width = parsed["token-bytes"].as<int>();
        if (width != 2 && width != 4 && width != 8)
            refuse_argument("--token-bytes", fmt::format("is {}; allowed are 2, 4 and 8", width));
        arguments.data.token_bytes = width;
    }
    if (parsed.count("vocab-size") != 0) {
        arguments.vocab_size = parsed["vocab-size"].as<std::int64_t>();
        if (*arguments.vocab_size < 1)
            refuse_argument("--vocab-size", fmt::format("is {}; it must be 1 or more", *arguments.vocab_size));
    }
    if (facts.command == DataCommand::decode) {
        take_range(parsed, arguments);
        refuse_inputs_as_output(arguments);
    }
    return arguments;
}

}  // namespace

DataArguments parse_data_arguments(int argc, const char* const* argv) {
    const std::string_view word = argc > 1 ? argv[1] : "";
    DataArguments answer;
    if (word == "--help" || word == "-h" || word == "help") {
        answer.answer = kGeneralHelp;
        return answer;
    }
    if (word == "--version") {
        answer.answer = version_text("smp_data");
        return answer;
    }
    const auto* const facts =
        std::find_if(kCommands.begin(), kCommands.end(), [&](const CommandFacts& known) { return known.word == word; });
    if (facts == kCommands.end()) {
        refuse_argument("command",
                        word.empty()
                            ? std::string("is missing: encode, inspect or decode; see smp_data --help")
                            : fmt::format("\"{}\" is unknown: encode, inspect or decode; see smp_data --help", word));
    }
    cxxopts::Options options = options_of(*facts);
    const cxxopts::ParseResult parsed = parse(options, word, argc - 1, argv + 1);
    options.set_width(help_width());
    if (parsed.count("help") != 0) answer.answer = options.help() + facts->examples;
    if (parsed.count("version") != 0) answer.answer = version_text("smp_data");
    return answer.answer ? answer : take(*facts, parsed);
}

}  // namespace smp::launch
