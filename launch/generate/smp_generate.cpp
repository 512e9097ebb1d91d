// smp_generate: draws text from a trained model.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <unistd.h>
#include <utility>
#include <vector>

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include "comms/device/rank_device.h"
#include "launch/command/config_arguments.h"
#include "launch/command/standard_output.h"
#include "launch/command/standard_streams.h"
#include "launch/generate/generate_arguments.h"
#include "launch/generate/text_output.h"
#include "launch/generate/text_source.h"
#include "launch/train/run_ranks.h"
#include "launch/train/run_start.h"
#include "runtime/agreement/agreement.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/safetensors.h"
#include "runtime/files/shown_text.h"
#include "runtime/trainer.h"

using namespace smp;

namespace {

void note(const std::string& sentence) {
    const std::string line = fmt::format("smp_generate: note: {}\n", runtime::escaped(sentence));
    std::fwrite(line.data(), 1, line.size(), stderr);
}

/// Tokens that go through the model at once for a text of `needed`: no more than that needs, in steps.
std::int64_t fitting_length(std::int64_t needed, std::int64_t longest) {
    constexpr std::int64_t kStep = 64;
    return std::min(longest, (needed + kStep - 1) / kStep * kStep);
}

runtime::TextRequest request_of(const launch::GenerateArguments& arguments, std::uint64_t seed, std::int64_t step) {
    return {.prompt = arguments.prompt,
            .prompt_name = arguments.prompt_name,
            .tokens = arguments.tokens,
            .temperature = arguments.temperature,
            .top_k = arguments.top_k,
            .seed = seed,
            .step = static_cast<std::uint64_t>(step)};
}

void write_logits(runtime::Trainer& trainer, std::vector<std::int64_t>& prompt, const std::string& path) {
    const auto length = static_cast<std::int64_t>(prompt.size());
    const at::Tensor tokens = at::from_blob(prompt.data(), {length}, at::kLong), logits = trainer.logits(tokens);
    const auto bytes = [](const at::Tensor& tensor) {
        return std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
    };
    const std::vector<runtime::SafetensorsEntry> entries = {
        {.name = "tokens", .dtype = runtime::SafetensorsType::I64, .shape = {length}, .bytes = bytes(tokens)},
        {.name = "logits", .shape = logits.sizes().vec(), .bytes = bytes(logits)}};
    runtime::write_safetensors(path, entries);
    launch::write_standard_output(
        fmt::format("{}: logits after each of {} tokens\n", runtime::escaped(path), prompt.size()));
}

void draw(runtime::Trainer& trainer, const launch::GenerateArguments& arguments,
          const runtime::TextTokenizer& tokenizer) {
    launch::TextOutput output(::isatty(STDOUT_FILENO) == 1);
    for (std::int64_t i = 0; i < arguments.samples; ++i) {
        const std::uint64_t seed = arguments.seed.value_or(trainer.job().training.seed) + static_cast<std::uint64_t>(i);
        if (arguments.samples > 1)
            launch::write_standard_output(
                fmt::format("--- sample {} of {}, seed {} ---\n", i + 1, arguments.samples, seed));
        output.write(arguments.prompt);
        trainer.sample(request_of(arguments, seed, trainer.steps_done()), [&](std::int64_t token) {
            output.write(tokenizer.decode({&token, 1}));
        });
        output.end_line();
    }
}

void generate(const launch::GenerateArguments& arguments) {
    launch::TextSource source = launch::text_source(arguments.source);
    launch::settle_tokenizer(source, arguments.tokenizer, arguments.tokenizer_file);
    const auto tokenizer = runtime::make_tokenizer(source.job.data);
    auto prompt = tokenizer->encode(arguments.prompt.empty() ? "\n" : arguments.prompt);
    const auto prompt_length = static_cast<std::int64_t>(prompt.size());
    const std::int64_t longest = *source.job.training.sequence_length;
    // Refuses a prompt that cannot be, before anything is loaded.
    const runtime::TextSampler possible(request_of(arguments, 0, 0), source.job, longest);
    const bool draws = arguments.logits.empty();
    if (!draws && prompt_length > longest)
        launch::refuse_argument(arguments.prompt_name,
                                fmt::format("has {} tokens, and the model takes {} at once; shorten it for --logits",
                                            prompt_length, longest));
    const std::int64_t needed = prompt_length + arguments.tokens - 1;  // nothing follows the last one
    source.job.training.sequence_length = draws ? fitting_length(needed, longest) : prompt_length;

    const auto world = comms::local_world(1);
    runtime::TrainerOptions options{.loads_first = !source.checkpoints.empty(), .has_data = false};
    options.on_failure = launch::ending_this_process("smp_generate");
    runtime::Trainer trainer(source.job, *world.front(), std::move(options));
    const auto loaded = launch::load_newest(trainer, source.checkpoints, "name another checkpoint");
    for (const std::string& sentence : loaded.passed_over) note(sentence);
    for (const std::string& sentence : trainer.warnings()) note(sentence);
    if (!draws) return write_logits(trainer, prompt, arguments.logits);
    if (needed > longest)
        note(fmt::format("the model was trained on {0} tokens at once; each token is drawn after the last {0}",
                         longest));
    draw(trainer, arguments, *tokenizer);
}

}  // namespace

int main(int argc, char** argv) {
    comms::prepare_cuda_queues();
    launch::prepare_standard_streams();
    try {
        const auto arguments = launch::parse_generate_arguments(argc, argv);
        if (arguments.answer)
            launch::write_standard_output(*arguments.answer);
        else
            generate(arguments);
        return 0;
    } catch (const launch::ReaderIsGone&) {
        return 0;
    } catch (const std::exception& error) {
        launch::print_failure("smp_generate", error.what());
        return runtime::exit_code_of(error);
    }
}
