// Text into tokens and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/job/options.h"

namespace smp::runtime {

struct EncodeOptions {
    /// true: the text "<|endoftext|>" becomes the one token that ends a document, where the tokenizer has one.
    /// false: it is text like any other.
    bool special_tokens = false;
};

/// Immutable: any number of threads may use one. Tokens are int64, as the embedding wants them; all lie in 0 …
/// vocab_size() − 1.
///
/// Any bytes can be encoded, and decode(encode(x)) == x: bytes that are no valid UTF-8 are not replaced, each run of
/// them is encoded by itself. Tokens need not hold whole characters, so text decoded from part of a stream can begin
/// and end inside one.
class TextTokenizer {
  public:
    virtual ~TextTokenizer() = default;
    TextTokenizer() = default;
    TextTokenizer(const TextTokenizer&) = delete;
    TextTokenizer& operator=(const TextTokenizer&) = delete;

    virtual std::string_view name() const = 0;
    virtual std::int64_t vocab_size() const = 0;
    /// Equal for tokenizers that make the same tokens of every text: the name, and a sum over the vocabulary.
    virtual std::string identity() const = 0;
    /// The token between documents: 50256 for GPT-2; none for bytes.
    virtual std::optional<std::int64_t> end_of_text() const = 0;

    /// `bytes`: so many of the text the tokens stand for.
    using Sink = std::function<void(std::span<const std::int64_t> tokens, std::size_t bytes)>;
    /// Hands the tokens of `text` to the sink in runs of bounded size, in order, so that neither side needs memory for
    /// all of them.
    virtual void encode(std::string_view text, const EncodeOptions& options, const Sink& sink) const = 0;
    std::vector<std::int64_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

    /// Throws DataError with the position of the first token outside the vocabulary.
    std::string decode(std::span<const std::int64_t> tokens) const;

  protected:
    /// The bytes of a token in 0 … vocab_size() − 1.
    virtual void append_bytes(std::int64_t token, std::string& text) const = 0;
};

/// One token for each byte: its value. Vocabulary 256.
std::unique_ptr<TextTokenizer> make_byte_tokenizer();

/// GPT-2's byte-pair encoding. `vocabulary` is a file with one "base64(token) rank" a line, as tiktoken's; empty:
/// GPT-2's own, which is built in. "<|endoftext|>" is the token after the last rank. Throws DataError with the line
/// that is wrong.
std::unique_ptr<TextTokenizer> make_gpt2_tokenizer(const std::filesystem::path& vocabulary = {});

/// The one that a configuration asks for. DataError as above, beginning with "data.tokenizer_file: ".
std::unique_ptr<TextTokenizer> make_tokenizer(const DataOptions& data);

}  // namespace smp::runtime
