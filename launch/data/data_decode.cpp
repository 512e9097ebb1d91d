#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/data/data_commands.h"
#include "partition/job/problem.h"
#include "runtime/data/dataset.h"
#include "runtime/data/token_file.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/data_error.h"
#include "runtime/files/output_file.h"

namespace smp::launch {
namespace {

using Write = std::function<void(std::string_view)>;

void decode_file(const std::filesystem::path& path, const DataArguments& arguments,
                 const runtime::TextTokenizer& tokenizer, const Write& write) {
    const runtime::TokenFile file(path, {.format = arguments.data.format,
                                         .vocab_size = arguments.vocab_size.value_or(tokenizer.vocab_size()),
                                         .tokenizer = &tokenizer,
                                         .token_bytes = arguments.data.token_bytes.value_or(0),
                                         .check_tokens = false});
    if (arguments.first > file.tokens()) {
        throw partition::ConfigError(
            partition::Problem{"--first", fmt::format("is {}, but \"{}\" has {} tokens; choose a smaller one",
                                                      arguments.first, path.string(), file.tokens())});
    }
    const std::int64_t rest = file.tokens() - arguments.first;
    const std::int64_t end = arguments.first + std::min(rest, arguments.count.value_or(rest));
    std::vector<std::int64_t> tokens(65536);
    for (std::int64_t first = arguments.first; first < end; first += std::ssize(tokens)) {
        const auto some = std::span(tokens).first(std::min<std::size_t>(tokens.size(), end - first));
        file.read(first, some);
        const auto bad = std::find_if(some.begin(), some.end(),
                                      [&](std::int64_t token) { return token < 0 || token >= tokenizer.vocab_size(); });
        if (bad != some.end()) {
            throw runtime::DataError(fmt::format(
                "\"{}\": token {} is {}, but tokenizer {} has tokens 0 to {}; name the tokenizer that made them by "
                "--tokenizer.",
                path.string(), first + (bad - some.begin()), *bad, tokenizer.name(), tokenizer.vocab_size() - 1));
        }
        write(tokenizer.decode(some));
    }
}

}  // namespace

void decode_tokens(const DataArguments& arguments) {
    const auto tokenizer = runtime::make_tokenizer(arguments.data);
    const auto decode_all = [&](const Write& write) {
        for (const std::string& input : arguments.inputs) {
            for (const std::filesystem::path& path : runtime::matching_files(input))
                decode_file(path, arguments, *tokenizer, write);
        }
    };
    if (arguments.output.empty()) return decode_all(write_standard_output);
    runtime::OutputFile output(arguments.output, arguments.force ? runtime::OutputFile::Existing::replace
                                                                 : runtime::OutputFile::Existing::keep);
    decode_all([&](std::string_view text) { output.write(std::as_bytes(std::span(text))); });
    output.commit();
}

}  // namespace smp::launch
