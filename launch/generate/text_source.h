// Where smp_generate's text comes from.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/job/job.h"

namespace smp::launch {

struct TextSource {
    /// For one rank, without data: model, precision, seed, tokenizer and sequence length as in the training.
    runtime::Job job;
    std::vector<std::filesystem::path> checkpoints;  // to try, the newest first; none: job.training.initial_weights
    bool says_tokenizer = false;                     // else job.data is the default
};

/// What a path of a person's stands for: a checkpoint, a run's, or a model as transformers writes it. Throws DataError
/// where it is none of them, or no checkpoint has a manifest.
TextSource text_source(const std::filesystem::path& path);

/// The tokenizer: the source's own, else the one asked for, else the one that a vocabulary of that size is for. Throws
/// partition::ConfigError where that leaves none, or two.
void settle_tokenizer(TextSource& source, std::optional<runtime::Tokenizer> asked, const std::string& file);

}  // namespace smp::launch
