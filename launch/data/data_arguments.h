// The command line of smp_data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/config/config.h"
#include "launch/data/text_documents.h"
#include "runtime/job/options.h"

namespace smp::launch {

enum class DataCommand { encode, inspect, decode };

struct DataArguments {
    DataCommand command = DataCommand::encode;
    std::vector<std::string> inputs;  // paths and globs
    std::string output;               // empty: standard output (decode)
    bool force = false;

    /// Section `data` as --config and the options say it: tokenizer, tokenizer_file, and format of what is read.
    runtime::DataOptions data;
    bool tokenizer_given = false;
    std::optional<std::int64_t> vocab_size;
    std::optional<std::int64_t> sequence_length;  // with --config

    runtime::DataFormat output_format = runtime::DataFormat::nanogpt;
    DocumentCut cut;
    bool append_eot = false;
    bool special_tokens = false;

    std::int64_t first = 0;  // tokens to decode
    std::optional<std::int64_t> count;

    /// Text to print instead of doing anything: --help, --version.
    std::optional<std::string> answer;
};

/// Throws partition::ConfigError for anything that smp_data does not know.
DataArguments parse_data_arguments(int argc, const char* const* argv);

}  // namespace smp::launch
