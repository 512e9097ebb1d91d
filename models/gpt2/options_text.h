// GPT-2's options as the text by which ranks compare them and checkpoints keep them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/gpt2/options.h"
#include "partition/job/problem.h"

namespace smp::models {

/// Lines "model.key=value", sorted, values as JSON: the same as those keys have in the text of a whole configuration.
/// n_inner as it is resolved.
std::string gpt2_text(const Gpt2Options& options);

/// The options that a text states, which may have lines of other sections too. What is missing, unknown or not allowed
/// is added to `problems`, with `key` "model.…".
Gpt2Options gpt2_options_in(std::string_view text, std::vector<partition::Problem>& problems);

}  // namespace smp::models
