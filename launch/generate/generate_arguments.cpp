#include "launch/generate/generate_arguments.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <iostream>
#include <iterator>
#include <vector>

#include <cxxopts.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comms/device/rank_device.h"
#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/version.h"
#include "runtime/files/data_error.h"
#include "runtime/files/text_file.h"

namespace smp::launch {
namespace {

constexpr std::int64_t kMost = 1'000'000;  // tokens, samples

constexpr const char* kExamples = R"(
CHECKPOINT: a folder with a manifest.json, a run's output directory, which
stands for its newest complete one, or a Hugging Face GPT-2 folder.

The prompt and what is drawn after it go to standard output. Equal seeds draw
equal text, that of training.sample_tokens too, where prompt, temperature and
step are equal; sample i of --samples is the one of seed + i - 1. Each token is
drawn after as many as the model was trained on at once: where there are more,
after the last ones. It takes the memory that one rank's training takes.

Examples:
  smp_generate runs/job --prompt "To be, or"
  smp_generate runs/job --prompt "To be, or" --temperature 0 --tokens 40
  smp_generate runs/job --prompt-file job.json --samples 3 --top-k 40 --seed 7

Exit codes: 0 done, 1 internal error, 2 usage, 3 checkpoint or model missing or
corrupt, 5 out of memory.
)";

using Text = std::string;

cxxopts::Options options() {
    cxxopts::Options options("smp_generate", "Draws text from a trained model, on the processors of this machine.");
    options.add_options()                                                                                           //
        ("prompt", "what the text begins with (default: a line break)", cxxopts::value<Text>(), "TEXT")             //
        ("prompt-file", "the same from a file, taken as it is; -: standard input", cxxopts::value<Text>(), "FILE")  //
        ("tokens", "tokens to draw (default: 100)", cxxopts::value<std::int64_t>(), "N")                            //
        ("temperature", "above 1 bolder, below 1 surer, 0: the likeliest token each time (default: 1)",
         cxxopts::value<double>(), "X")                                                                         //
        ("top-k", "of the N likeliest tokens alone (default: of all)", cxxopts::value<std::int64_t>(), "N")     //
        ("seed", "of the draws (default: that of the training, else 1)", cxxopts::value<std::uint64_t>(), "N")  //
        ("samples", "texts to draw (default: 1)", cxxopts::value<std::int64_t>(), "N")                          //
        ("tokenizer", "bytes or gpt2, where the checkpoint does not say (default: by the size of the vocabulary)",
         cxxopts::value<Text>(), "NAME")                                                                      //
        ("tokenizer-file", "its vocabulary, where it lies elsewhere by now", cxxopts::value<Text>(), "FILE")  //
        ("logits", "draw nothing: write the prompt's tokens and the logits after each (safetensors)",
         cxxopts::value<Text>(), "FILE")                                   //
        ("version", "versions of the program and of what it is built on")  //
        ("h,help", "this text");
    options.add_options("paths")("path", "", cxxopts::value<std::vector<Text>>());
    options.parse_positional({"path"});
    options.positional_help("CHECKPOINT");
    return options;
}

std::int64_t number_of(const cxxopts::ParseResult& parsed, const char* name, std::int64_t otherwise,
                       std::int64_t least) {
    if (parsed.count(name) == 0) return otherwise;
    const auto number = parsed[name].as<std::int64_t>();
    if (number < least || number > kMost)
        refuse_argument(fmt::format("--{}", name), fmt::format("is {}; allowed are {} to {}", number, least, kMost));
    return number;
}

void take_prompt(const cxxopts::ParseResult& parsed, GenerateArguments& arguments) {
    if (parsed.count("prompt") != 0) arguments.prompt = parsed["prompt"].as<Text>();
    if (parsed.count("prompt-file") == 0) return;
    if (parsed.count("prompt") != 0)
        refuse_argument("--prompt-file", "and --prompt are both given; leave one of them out");
    arguments.prompt_name = "--prompt-file";
    const auto& file = parsed["prompt-file"].as<Text>();
    if (file == "-") {
        arguments.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
    } else if (auto text = runtime::read_text(file)) {
        arguments.prompt = *std::move(text);
    } else {
        throw runtime::DataError(
            fmt::format("\"{}\" is not there or cannot be read; name a file of text by --prompt-file", file));
    }
}

GenerateArguments take(const cxxopts::ParseResult& parsed) {
    GenerateArguments arguments;
    std::vector<Text> paths;  // cxxopts itself would cut them at commas
    for (const auto& argument : parsed.arguments())
        if (argument.key() == "path") paths.push_back(argument.value());
    if (paths.empty())
        refuse_argument("CHECKPOINT", "is missing: smp_generate CHECKPOINT --prompt TEXT; see smp_generate --help");
    if (paths.size() > 1)
        refuse_argument(fmt::format("\"{}\"", paths[1]),
                        "is one path too many: smp_generate CHECKPOINT --prompt TEXT, TEXT in quotes");
    arguments.source = paths.front();
    take_prompt(parsed, arguments);
    arguments.tokens = number_of(parsed, "tokens", arguments.tokens, 1);
    arguments.samples = number_of(parsed, "samples", arguments.samples, 1);
    arguments.top_k = number_of(parsed, "top-k", arguments.top_k, 1);
    if (parsed.count("temperature") != 0) arguments.temperature = parsed["temperature"].as<double>();
    if (!(arguments.temperature >= 0 && std::isfinite(arguments.temperature)))
        refuse_argument("--temperature", fmt::format("is {}; allowed are 0 and more", arguments.temperature));
    if (parsed.count("seed") != 0) arguments.seed = parsed["seed"].as<std::uint64_t>();
    if (parsed.count("tokenizer") != 0) {
        const auto& words = partition::Words<runtime::Tokenizer>::list;
        const auto& word = parsed["tokenizer"].as<Text>();
        const auto found = std::ranges::find(words, word);
        if (found == words.end())
            refuse_argument("--tokenizer", fmt::format("is \"{}\"; allowed are {}", word, fmt::join(words, ", ")));
        arguments.tokenizer = static_cast<runtime::Tokenizer>(found - words.begin());
    }
    if (parsed.count("tokenizer-file") != 0) arguments.tokenizer_file = parsed["tokenizer-file"].as<Text>();
    if (parsed.count("logits") == 0) return arguments;
    arguments.logits = parsed["logits"].as<Text>();
    for (const char* idle : {"tokens", "samples", "top-k", "temperature", "seed"})
        if (parsed.count(idle) != 0)
            refuse_argument(fmt::format("--{}", idle), "changes nothing beside --logits, which draws no text");
    return arguments;
}

}  // namespace

GenerateArguments parse_generate_arguments(int argc, const char* const* argv) {
    auto description = options();
    try {
        const auto parsed = description.parse(argc, argv);
        description.set_width(help_width());
        GenerateArguments answer;
        if (parsed.count("help") != 0) answer.answer = description.help({""}) + kExamples;
        if (parsed.count("version") != 0) answer.answer = version_text("smp_generate", comms::described_cuda_devices());
        return answer.answer ? answer : take(parsed);
    } catch (const partition::ConfigError&) {
        throw;
    } catch (const runtime::DataError&) {
        throw;
    } catch (const std::exception& error) {  // cxxopts' own class has another name in older versions
        refuse_argument("command line:", std::string(error.what()) + "; see smp_generate --help");
    }
}

}  // namespace smp::launch
