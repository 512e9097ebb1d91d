#include <chrono>
#include <memory>

#include <fmt/format.h>

#include "launch/command/standard_output.h"
#include "launch/data/data_commands.h"
#include "runtime/data/dataset.h"
#include "runtime/data/token_file_writer.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/mapped_file.h"

namespace smp::launch {

void encode_text(const DataArguments& arguments) {
    const auto start = std::chrono::steady_clock::now();
    const auto tokenizer = runtime::make_tokenizer(arguments.data);
    std::vector<std::filesystem::path> files;
    for (const std::string& input : arguments.inputs) {
        for (std::filesystem::path& file : runtime::matching_files(input)) files.push_back(std::move(file));
    }
    runtime::TokenFileWriter writer(
        arguments.output, arguments.output_format, tokenizer->vocab_size(),
        arguments.force ? runtime::OutputFile::Existing::replace : runtime::OutputFile::Existing::keep);
    const runtime::EncodeOptions options{.special_tokens = arguments.special_tokens};
    const runtime::TextTokenizer::Sink append = [&](std::span<const std::int64_t> tokens) { writer.append(tokens); };
    std::uint64_t bytes = 0;
    for (const std::filesystem::path& path : files) {
        const runtime::MappedFile file(path);
        bytes += file.size();
        const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
        for_each_document(text, arguments.cut, path.string(), [&](std::string_view document) {
            tokenizer->encode(document, options, append);
            if (arguments.append_eot) writer.append(std::vector{tokenizer->end_of_text().value()});
            writer.end_document();
        });
    }
    writer.finish();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    write_standard_output(fmt::format(
        "{}: {} tokens ({}, {}) in {} documents, from {} bytes in {} files by tokenizer {}, {:.1f} MB/s\n",
        arguments.output, writer.tokens(), partition::word_of(arguments.output_format), runtime::name(writer.type()),
        writer.documents(), bytes, files.size(), tokenizer->name(), static_cast<double>(bytes) / 1e6 / seconds));
}

}  // namespace smp::launch
