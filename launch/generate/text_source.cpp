#include "launch/generate/text_source.h"

#include <cstdint>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/command/config_arguments.h"
#include "launch/convert/hugging_face_folder.h"
#include "launch/convert/model_of_checkpoint.h"
#include "models/gpt2/gpt2.h"
#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/checkpoint/configurations.h"
#include "runtime/files/data_error.h"

namespace smp::launch {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// One sequence at a time through the whole model.
runtime::Job job_of(const models::Gpt2Options& model) {
    runtime::Job job;
    job.model = models::gpt2(model);
    job.training.steps = 1;
    job.training.global_batch_size = 1;
    job.training.sequence_length = model.n_positions;
    return job;
}

/// What the configuration that a checkpoint was trained with says about text.
void take_configuration(const std::string& text, TextSource& source) {
    runtime::Job& job = source.job;
    const auto value = [&](std::string_view key) {
        const auto found = runtime::value_in(text, key);
        return found ? Json::parse(*found, nullptr, /*allow_exceptions=*/false) : Json();
    };
    if (const Json length = value("training.sequence_length"); length.is_number_integer())
        job.training.sequence_length = length.get<std::int64_t>();
    if (const Json seed = value("training.seed"); seed.is_number_unsigned())
        job.training.seed = seed.get<std::uint64_t>();
    job.parallel.bf16 = value("parallel.bf16") == Json(true);
    job.parallel.fp16 = value("parallel.fp16") == Json(true);
    for (const runtime::Tokenizer tokenizer : {runtime::Tokenizer::bytes, runtime::Tokenizer::gpt2}) {
        if (value("data.tokenizer") != Json(partition::word_of(tokenizer))) continue;
        job.data.tokenizer = tokenizer;
        source.says_tokenizer = true;
    }
    if (const Json file = value("data.tokenizer_file"); file.is_string())
        job.data.tokenizer_file = file.get<std::string>();
}

TextSource checkpoint_source(std::vector<fs::path> checkpoints) {
    std::string why;
    for (const fs::path& path : checkpoints) {
        try {
            const runtime::Checkpoint checkpoint(path);
            TextSource source;
            source.job = job_of(model_of(checkpoint));
            take_configuration(checkpoint.manifest().configuration, source);
            source.checkpoints = std::move(checkpoints);
            return source;
        } catch (const runtime::DataError& error) {
            if (why.empty()) why = error.what();  // of the newest
        }
    }
    throw runtime::DataError(why);
}

TextSource model_source(const fs::path& path) {
    std::error_code none;
    const bool is_file = path.extension() == ".safetensors" && fs::exists(path, none);
    if (!is_file && !fs::exists(path / "config.json", none))
        throw runtime::DataError(
            fmt::format("\"{}\" is no checkpoint and holds none, and is no Hugging Face folder; name a folder with a "
                        "{}, the output directory of a run, or a folder with config.json and model.safetensors",
                        path.string(), runtime::kManifest));
    if (fs::exists(path / "metrics.jsonl", none))
        throw runtime::DataError(
            fmt::format("\"{}\" is a run that has no complete checkpoint; let it train on, or set "
                        "checkpoint.every",
                        path.string()));
    TextSource source;
    source.job = job_of(described_model(path));
    source.job.training.initial_weights = fs::absolute(path).string();
    return source;
}

}  // namespace

TextSource text_source(const fs::path& path) {
    auto checkpoints = runtime::checkpoints_named(path);
    return checkpoints.empty() ? model_source(path) : checkpoint_source(std::move(checkpoints));
}

void settle_tokenizer(TextSource& source, std::optional<runtime::Tokenizer> asked, const std::string& file) {
    constexpr std::int64_t kBytes = 256, kGpt2 = 50257;
    runtime::DataOptions& data = source.job.data;
    const std::int64_t vocabulary = source.job.model.spec->vocabulary();
    if (source.says_tokenizer) {
        if (asked && *asked != data.tokenizer)
            refuse_argument("--tokenizer", fmt::format("is {}, and the model was trained with {}; leave it out",
                                                       partition::word_of(*asked), partition::word_of(data.tokenizer)));
    } else if (asked) {
        data.tokenizer = *asked;
    } else if (vocabulary == kBytes || vocabulary >= kGpt2) {
        data.tokenizer = vocabulary == kBytes ? runtime::Tokenizer::bytes : runtime::Tokenizer::gpt2;
    } else {
        refuse_argument("--tokenizer", fmt::format("is missing: the checkpoint does not say which one its vocabulary "
                                                   "of {} is for; name bytes or gpt2",
                                                   vocabulary));
    }
    if (!file.empty()) data.tokenizer_file = file;
}

}  // namespace smp::launch
