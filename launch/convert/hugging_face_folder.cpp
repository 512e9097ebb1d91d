#include "launch/convert/hugging_face_folder.h"

#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "launch/config/preset.h"
#include "launch/convert/model_of_checkpoint.h"
#include "models/gpt2/hugging_face.h"
#include "runtime/files/data_error.h"
#include "runtime/files/output_file.h"
#include "runtime/files/safetensors.h"

namespace smp::launch {

void export_hugging_face(runtime::Checkpoint& checkpoint, const std::filesystem::path& folder,
                         runtime::OutputFolder::Existing existing) {
    const std::string config = models::gpt2_config_json(model_of(checkpoint));
    std::vector<runtime::SafetensorsSource> tensors;
    for (const auto& [name, shape] : checkpoint.manifest().tensors)
        tensors.push_back({.name = models::gpt2_name_in_files(name),
                           .shape = shape,
                           .bytes = [&, &name = name, &shape = shape](const runtime::TakeBytes& take) {
                               checkpoint.read_all(name, runtime::StateKind::weight, 0, runtime::elements_of(shape),
                                                   [&](std::span<const float> values) { take(std::as_bytes(values)); });
                           }});
    runtime::OutputFolder output(folder, existing);
    runtime::stream_safetensors(output.path() / "model.safetensors", tensors, {{"format", "pt"}});
    runtime::OutputFile file(output.path() / "config.json", runtime::OutputFile::Existing::keep);
    file.write(std::as_bytes(std::span(config)));
    file.commit();
    output.commit();
}

models::Gpt2Options described_model(const std::filesystem::path& source) {
    std::error_code none;
    if (!std::filesystem::exists(source, none))
        throw runtime::DataError(
            fmt::format("\"{}\" does not exist; name a Hugging Face GPT-2 folder, a .safetensors "
                        "file in one, or llm.c's .bin",
                        source.string()));
    const auto config = (std::filesystem::is_directory(source, none) ? source : source.parent_path()) / "config.json";
    if (!std::filesystem::exists(config, none))
        throw runtime::DataError(
            fmt::format("\"{}\" does not exist, and without it shapes alone say too little about "
                        "the weights (heads, epsilon); put the model's config.json there",
                        config.string()));
    try {
        std::vector<partition::Problem> problems;
        models::Gpt2Options options = read_hugging_face(config, problems);
        if (problems.empty()) problems = models::validate(options);
        if (!problems.empty()) throw partition::ConfigError(std::move(problems));
        return options;
    } catch (const partition::ConfigError& error) {  // it is no configuration of ours, but part of the model
        throw runtime::DataError(error.what());
    }
}

}  // namespace smp::launch
