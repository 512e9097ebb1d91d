// The command line of smp_generate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/job/options.h"

namespace smp::launch {

struct GenerateArguments {
    std::string source;                    // a checkpoint, a run's output directory, or a Hugging Face folder
    std::string prompt;                    // empty: a line break
    std::string prompt_name = "--prompt";  // the option that it came by
    std::int64_t tokens = 100;
    double temperature = 1;
    std::int64_t top_k = 0;             // 0: all
    std::optional<std::uint64_t> seed;  // not given: that of the training
    std::int64_t samples = 1;
    std::optional<runtime::Tokenizer> tokenizer;  // not given: as the checkpoint says
    std::string tokenizer_file;                   // likewise
    std::string logits;                           // a file for the logits of the prompt, which is then all that is done

    /// Text to print instead of doing anything: --help, --version.
    std::optional<std::string> answer;
};

/// Reads the file of --prompt-file, too. Throws partition::ConfigError for anything that smp_generate does not know,
/// and runtime::DataError for a prompt that cannot be read.
GenerateArguments parse_generate_arguments(int argc, const char* const* argv);

}  // namespace smp::launch
