// The command line of smp_convert.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partition/job/words.h"

namespace smp::launch {

enum class ConvertCommand { inspect, verify, export_model, import_model, relayout };
enum class ReportFormat { text, json };
enum class ModelFormat { huggingface, llmc };

struct ConvertArguments {
    ConvertCommand command = ConvertCommand::inspect;
    std::string source;  // a checkpoint, or with import a model
    std::string target;  // to be made; empty for inspect and verify
    ReportFormat report = ReportFormat::text;
    ModelFormat model = ModelFormat::huggingface;  // of export
    std::string config;                            // of relayout, as the next two
    std::vector<std::string> sets;
    std::optional<int> ranks;

    /// Text to print instead of doing anything: --help, --version.
    std::optional<std::string> answer;
};

/// Throws partition::ConfigError for anything that smp_convert does not know, and for a target that is there already.
ConvertArguments parse_convert_arguments(int argc, const char* const* argv);

}  // namespace smp::launch

namespace smp::partition {

template <>
struct Words<launch::ReportFormat> {
    static constexpr std::array<std::string_view, 2> list = {"text", "json"};
};
template <>
struct Words<launch::ModelFormat> {
    static constexpr std::array<std::string_view, 2> list = {"huggingface", "llmc"};
};

}  // namespace smp::partition
