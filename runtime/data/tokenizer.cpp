#include "runtime/data/tokenizer.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

class ByteTokenizer final : public TextTokenizer {
  public:
    std::string_view name() const override { return "bytes"; }
    std::int64_t vocab_size() const override { return 256; }
    std::string identity() const override { return "bytes"; }
    std::optional<std::int64_t> end_of_text() const override { return std::nullopt; }

    using TextTokenizer::encode;
    void encode(std::string_view text, const EncodeOptions&, const Sink& sink) const override {
        std::array<std::int64_t, 4096> tokens;
        while (!text.empty()) {
            const std::size_t count = std::min(text.size(), tokens.size());
            std::transform(text.begin(), text.begin() + count, tokens.begin(),
                           [](char c) { return static_cast<unsigned char>(c); });
            sink(std::span(tokens).first(count), count);
            text.remove_prefix(count);
        }
    }

  protected:
    void append_bytes(std::int64_t token, std::string& text) const override {
        text.push_back(static_cast<char>(token));
    }
};

}  // namespace

std::vector<std::int64_t> TextTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
    std::vector<std::int64_t> all;
    encode(text, options, [&](std::span<const std::int64_t> tokens, std::size_t) {
        all.insert(all.end(), tokens.begin(), tokens.end());
    });
    return all;
}

std::string TextTokenizer::decode(std::span<const std::int64_t> tokens) const {
    std::string text;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (tokens[i] < 0 || tokens[i] >= vocab_size()) {
            throw DataError(fmt::format(
                "token {} of the sequence is {}, but the {} tokenizer has tokens 0 to {}; decode with the tokenizer "
                "that made them.",
                i, tokens[i], name(), vocab_size() - 1));
        }
        append_bytes(tokens[i], text);
    }
    return text;
}

std::unique_ptr<TextTokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

std::unique_ptr<TextTokenizer> make_tokenizer(const DataOptions& data) {
    if (data.tokenizer == Tokenizer::bytes) return make_byte_tokenizer();
    try {
        return make_gpt2_tokenizer(data.tokenizer_file);
    } catch (const DataError& error) {
        throw DataError(fmt::format("data.tokenizer_file: {}", error.what()));
    }
}

}  // namespace smp::runtime
