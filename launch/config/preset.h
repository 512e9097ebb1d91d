// Shapes of models: GPT-2's family under its names, and any Hugging Face config.json.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "models/gpt2/options.h"
#include "partition/job/problem.h"

namespace smp::launch {

/// The model that `preset` stands for: a name of preset_names(), or else a Hugging Face GPT-2 config.json or the folder
/// that it lies in. Its keys that are also ours are taken and its others are ignored, as they say nothing about
/// training, except where they ask for arithmetic that is not here. `overridden`: names of keys of section model that
/// stand beside the preset with a value; what it says of these is not looked at. What is wrong, missing too, is added
/// to `problems`, with `key` "model.preset" and `origin`, or the other file and its key.
models::Gpt2Options read_preset(const std::string& preset, const std::filesystem::path& base, const std::string& origin,
                                const std::set<std::string>& overridden, std::vector<partition::Problem>& problems);

/// What a Hugging Face GPT-2 config.json says, by the same rules. `key` of a problem is the other file's.
models::Gpt2Options read_hugging_face(const std::filesystem::path& file, std::vector<partition::Problem>& problems);

}  // namespace smp::launch
