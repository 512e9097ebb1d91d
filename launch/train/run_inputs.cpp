#include "launch/train/run_inputs.h"

#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "launch/command/config_arguments.h"
#include "runtime/data/dataset.h"
#include "runtime/files/text_file.h"
#include "runtime/records/run_directory.h"

namespace smp::launch {

void refuse_inputs_as_output(const TrainArguments& arguments, const Config& config, const std::string& config_json) {
    std::vector<std::filesystem::path> inputs;
    for (const std::string& pattern : {config.data.train, config.data.validation}) {
        if (pattern.empty()) continue;
        for (const auto& file : runtime::matching_files(pattern)) inputs.push_back(file);
    }
    for (const std::string& file : {config.data.tokenizer_file, config.training.initial_weights})
        if (!file.empty()) inputs.emplace_back(file);
    if (runtime::read_text(arguments.config) != config_json) inputs.emplace_back(arguments.config);
    std::error_code none;  // of what is not there
    const auto tokens = std::filesystem::path(arguments.output) / runtime::kTokenFolder;
    for (const std::filesystem::path& input : inputs)
        if (std::filesystem::equivalent(std::filesystem::absolute(input).parent_path(), tokens, none))
            refuse_argument("--output", fmt::format("is {}, and {} lies in its folder {}/, which the run clears; move "
                                                    "it, or choose another folder",
                                                    arguments.output, input.string(), runtime::kTokenFolder));
    for (const auto& entry : std::filesystem::directory_iterator(arguments.output, none)) {
        if (!runtime::is_file_of_a_run(entry.path().filename())) continue;
        for (const std::filesystem::path& input : inputs)
            if (std::filesystem::equivalent(input, entry.path(), none))
                refuse_argument("--output", fmt::format("is {}, where the run would write over {}, which it reads; "
                                                        "choose another folder",
                                                        arguments.output, input.string()));
    }
}

}  // namespace smp::launch
