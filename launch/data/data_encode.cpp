#include <chrono>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/data/data_commands.h"
#include "runtime/data/content_doubt.h"
#include "runtime/data/dataset.h"
#include "runtime/data/token_file_writer.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/binary_format.h"
#include "runtime/files/data_error.h"
#include "runtime/files/mapped_file.h"
#include "runtime/files/shown_text.h"

namespace smp::launch {
namespace {

void warn(const std::string& sentence) {
    fmt::print(stderr, "smp_data: warning: {}\n", runtime::readable_message(sentence));
}

void refuse_binary(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    if (const auto known = runtime::binary_format(bytes)) {
        throw runtime::DataError(
            fmt::format("\"{}\" is {}, which cannot be read as text; {}.", path.string(), known->name, known->remedy));
    }
    if (const auto doubt = runtime::doubt_as_text(bytes)) warn(fmt::format("\"{}\" {}.", path.string(), doubt->what));
}

}  // namespace

void encode_text(const DataArguments& arguments) {
    const auto start = std::chrono::steady_clock::now();
    const auto tokenizer = runtime::make_tokenizer(arguments.data);
    std::vector<std::filesystem::path> files;
    for (const std::string& input : arguments.inputs) {
        for (std::filesystem::path& file : runtime::matching_files(input)) files.push_back(std::move(file));
    }
    for (const std::string& sentence : runtime::leave_out_empty(files)) warn(sentence);
    runtime::TokenFileWriter writer(
        arguments.output, arguments.output_format, tokenizer->vocab_size(),
        arguments.force ? runtime::OutputFile::Existing::replace : runtime::OutputFile::Existing::keep);
    const runtime::EncodeOptions options{.special_tokens = arguments.special_tokens};
    const runtime::TextTokenizer::Sink append = [&](std::span<const std::int64_t> tokens, std::size_t) {
        writer.append(tokens);
    };
    std::uint64_t bytes = 0;
    for (const std::filesystem::path& path : files) {
        const runtime::MappedFile file(path);
        refuse_binary(path, file.bytes());
        bytes += file.size();
        const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
        for_each_document(text, arguments.cut, path.string(), [&](std::string_view document) {
            tokenizer->encode(document, options, append);
            if (arguments.append_eot) writer.append(std::vector{tokenizer->end_of_text().value()});
            writer.end_document();
        });
        file.require_whole();
    }
    writer.finish();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    write_standard_output(
        fmt::format("{}: {} tokens ({}, {}) in {} documents, from {} bytes in {} files by tokenizer {}, {:.1f} MB/s\n",
                    runtime::escaped(arguments.output), writer.tokens(), partition::word_of(arguments.output_format),
                    runtime::name(writer.type()), writer.documents(), bytes, files.size(), tokenizer->name(),
                    static_cast<double>(bytes) / 1e6 / seconds));
}

}  // namespace smp::launch
