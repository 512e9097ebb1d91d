#include <algorithm>
#include <limits>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/standard_output.h"
#include "launch/data/data_commands.h"
#include "runtime/data/dataset.h"
#include "runtime/data/token_file.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/shown_text.h"

namespace smp::launch {
namespace {

constexpr std::int64_t kShownTokens = 16;
constexpr std::int64_t kShownText = 48;  // tokens

/// On one line, in quotes, control characters as C writes them.
std::string on_one_line(std::string_view text) {
    std::string shown = "\"";
    for (const char c : text) {
        if (c == '\n') {
            shown += "\\n";
        } else if (c == '\t') {
            shown += "\\t";
        } else {
            if (c == '"' || c == '\\') shown.push_back('\\');
            shown.push_back(c);
        }
    }
    return runtime::escaped(shown) + '"';
}

struct Range {
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    std::int64_t largest = std::numeric_limits<std::int64_t>::min();
};

Range range_of(const runtime::TokenFile& file) {
    Range range;
    std::vector<std::int64_t> tokens(65536);
    for (std::int64_t first = 0; first < file.tokens(); first += std::ssize(tokens)) {
        const auto some = std::span(tokens).first(std::min<std::size_t>(tokens.size(), file.tokens() - first));
        file.read(first, some);
        const auto [smallest, largest] = std::minmax_element(some.begin(), some.end());
        range.smallest = std::min(range.smallest, *smallest);
        range.largest = std::max(range.largest, *largest);
    }
    return range;
}

/// Who could have made the tokens, where nobody said so.
std::unique_ptr<runtime::TextTokenizer> likely_tokenizer(const Range& range) {
    if (range.smallest < 0) return nullptr;
    if (range.largest < 256) return runtime::make_byte_tokenizer();
    auto gpt2 = runtime::make_gpt2_tokenizer();
    return range.largest < gpt2->vocab_size() ? std::move(gpt2) : nullptr;
}

std::string described(const std::filesystem::path& path, const DataArguments& arguments,
                      const runtime::TextTokenizer& stated) {
    const runtime::TokenFile file(path, {.format = arguments.data.format,
                                         .vocab_size = arguments.vocab_size.value_or(65536),
                                         .tokenizer = &stated,
                                         .token_bytes = arguments.data.token_bytes.value_or(0),
                                         .check_tokens = false,
                                         .refuse_doubtful = false});
    std::string text;
    const auto row = [&](std::string_view label, const std::string& value) {
        text += fmt::format("{:<10} {}\n", label, value);
    };
    row("file", runtime::escaped(path.string()));
    const bool is_text = file.format() == runtime::DataFormat::text;
    row("format", is_text ? fmt::format("text, by tokenizer {}", stated.name())
                          : fmt::format("{}, {}", partition::word_of(file.format()), runtime::name(file.type())));
    row("bytes", fmt::format("{}", std::filesystem::file_size(path)));
    row("tokens", fmt::format("{}", file.tokens()));
    for (const std::string& warning : file.warnings()) row("warning", runtime::escaped(warning));
    if (file.documents()) row("documents", fmt::format("{}", *file.documents()));
    if (arguments.sequence_length) {
        row("samples", fmt::format("{} of training.sequence_length {}",
                                   std::max<std::int64_t>(0, (file.tokens() - 1) / *arguments.sequence_length),
                                   *arguments.sequence_length));
    }
    if (file.tokens() == 0) return text;
    const Range range = range_of(file);
    row("smallest", fmt::format("{}", range.smallest));
    row("largest", fmt::format("{}", range.largest));
    if (arguments.vocab_size && (range.smallest < 0 || range.largest >= *arguments.vocab_size)) {
        row("warning", fmt::format("tokens lie outside the vocabulary of {}: training would refuse this file",
                                   *arguments.vocab_size));
    }
    std::vector<std::int64_t> front(std::min(file.tokens(), kShownText));
    file.read(0, front);
    row("begins", fmt::format("{}", fmt::join(std::span(front).first(std::min(file.tokens(), kShownTokens)), " ")));
    std::unique_ptr<runtime::TextTokenizer> likely;
    const runtime::TextTokenizer* tokenizer = &stated;
    if (!arguments.tokenizer_given && !is_text) tokenizer = (likely = likely_tokenizer(range)).get();
    if (tokenizer && range.smallest >= 0 && range.largest < tokenizer->vocab_size()) {
        row("text", fmt::format("{} (tokenizer {}{})", on_one_line(tokenizer->decode(front)), tokenizer->name(),
                                likely ? ", by the largest token" : ""));
    } else {
        row("text", tokenizer ? fmt::format("not by tokenizer {}, which has tokens 0 to {}", tokenizer->name(),
                                            tokenizer->vocab_size() - 1)
                              : std::string("neither by tokenizer bytes nor gpt2"));
    }
    return text;
}

}  // namespace

void inspect_tokens(const DataArguments& arguments) {
    const auto tokenizer = runtime::make_tokenizer(arguments.data);
    bool first = true;
    for (const std::string& input : arguments.inputs) {
        std::vector<std::filesystem::path> paths = runtime::matching_files(input);
        for (const std::string& sentence : runtime::leave_out_empty(paths))
            write_standard_output(fmt::format("{:<10} {}\n", "warning", runtime::escaped(sentence)));
        for (const std::filesystem::path& path : paths) {
            write_standard_output(fmt::format("{}{}", first ? "" : "\n", described(path, arguments, *tokenizer)));
            first = false;
        }
    }
}

}  // namespace smp::launch
