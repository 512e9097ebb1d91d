#include "runtime/data/token_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/data/content_doubt.h"
#include "runtime/files/binary_format.h"
#include "runtime/files/data_error.h"

namespace smp::runtime {
namespace {

/// Widens tokens and returns the largest; negative ones count as huge.
template <class T>
std::uint64_t widen(const std::byte* from, std::span<std::int64_t> to) {
    std::uint64_t largest = 0;
    for (std::size_t i = 0; i < to.size(); ++i) {
        T token;
        std::memcpy(&token, from + i * sizeof(T), sizeof(T));
        to[i] = static_cast<std::int64_t>(token);
        largest = std::max(largest, static_cast<std::uint64_t>(to[i]));
    }
    return largest;
}

std::uint64_t widen(TokenType type, const std::byte* from, std::span<std::int64_t> to) {
    switch (type) {
        case TokenType::uint8: return widen<std::uint8_t>(from, to);
        case TokenType::int8: return widen<std::int8_t>(from, to);
        case TokenType::uint16: return widen<std::uint16_t>(from, to);
        case TokenType::int16: return widen<std::int16_t>(from, to);
        case TokenType::uint32: return widen<std::uint32_t>(from, to);
        case TokenType::int32: return widen<std::int32_t>(from, to);
        case TokenType::int64: return widen<std::int64_t>(from, to);
    }
    throw std::logic_error("A TokenType that cannot be read.");
}

/// Whether the type alone keeps tokens below the limit.
bool always_below(TokenType type, std::uint64_t limit) {
    return (type == TokenType::uint8 && limit > 0xff) || (type == TokenType::uint16 && limit > 0xffff) ||
           (type == TokenType::uint32 && limit > 0xffff'ffff);
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path, const TokenFileOptions& options)
    : path_(path),
      format_(options.format),
      checked_(options.check_tokens),
      limit_(static_cast<std::uint64_t>(options.vocab_size)),
      file_(path) {
    const std::span<const std::byte> bytes = file_->bytes();  // of a text: before its tokens
    if (format_ == DataFormat::automatic) format_ = recognise(path, bytes);
    look_at_content(options);
    switch (format_) {
        case DataFormat::automatic: throw std::logic_error("A file's format was not decided.");
        case DataFormat::text: open_text(options); break;
        case DataFormat::nanogpt: layout_ = nanogpt_layout(path, bytes, options.vocab_size, options.token_bytes); break;
        case DataFormat::llmc: layout_ = llmc_layout(path, bytes); break;
        case DataFormat::megatron: layout_ = megatron_layout(path, bytes); break;
    }
    data_ = (file_ ? file_->bytes() : std::span(*memory_)).data() + layout_.offset;

    const std::size_t size = static_cast<std::size_t>(layout_.tokens) * bytes_of(layout_.type);
    if (!checked_ || size > kCheckedAtOpenBytes || always_below(layout_.type, limit_)) return;
    if (format_ == DataFormat::text && static_cast<std::uint64_t>(tokenizer_size_) <= limit_) return;
    std::array<std::int64_t, 4096> some;
    for (std::int64_t first = 0; first < layout_.tokens; first += std::ssize(some)) {
        read(first, std::span(some).first(std::min<std::size_t>(some.size(), layout_.tokens - first)));
    }
}

void TokenFile::look_at_content(const TokenFileOptions& options) {
    const std::span<const std::byte> bytes = file_->bytes();
    const auto say = [&](bool refuse, const std::string& sentence) {
        if (refuse && options.refuse_doubtful) throw DataError(fmt::format("\"{}\" {}.", path_.string(), sentence));
        warnings_.push_back(fmt::format("\"{}\" {}.", path_.string(), sentence));
    };
    const bool bare = format_ == DataFormat::nanogpt;
    if (!bare && format_ != DataFormat::text) return;
    if (const auto known = binary_format(bytes)) {
        return say(true, fmt::format("is {}, which cannot be read as {}; {}", known->name,
                                     bare ? "tokens (data.format nanogpt)" : "text", known->remedy));
    }
    if (bare && options.token_bytes != 0) return;  // stated
    const auto doubt =
        bare ? doubt_as_tokens(bytes, nanogpt_type(options.vocab_size, 0), options.vocab_size) : doubt_as_text(bytes);
    if (!doubt) return;
    if (bare) {
        return say(
            doubt->certain,
            fmt::format("{}, but would be read as {} (data.format nanogpt, model.vocab_size {}); {}", doubt->what,
                        name(nanogpt_type(options.vocab_size, 0)), options.vocab_size, doubt->remedy));
    }
    // Whoever states that it is text may mean its bytes.
    say(doubt->certain && options.format == DataFormat::automatic, fmt::format("{}; {}", doubt->what, doubt->remedy));
}

void TokenFile::open_text(const TokenFileOptions& options) {
    if (!options.tokenizer) throw std::logic_error("A text file was opened without a tokenizer.");
    tokenizer_ = options.tokenizer->name();
    tokenizer_size_ = options.tokenizer->vocab_size();
    const std::span<const std::byte> bytes = file_->bytes();
    if (tokenizer_ == "bytes") {
        layout_ = {
            .type = TokenType::uint8, .offset = 0, .tokens = static_cast<std::int64_t>(bytes.size()), .documents = {}};
        return;
    }
    TokenCache own({});
    TextTokens made = (options.cache ? *options.cache : own).tokens_of(*file_, *options.tokenizer);
    layout_ = made.layout;
    memory_ = std::move(made.memory);
    file_ = std::move(made.file);
}

void TokenFile::read(std::int64_t first, std::span<std::int64_t> tokens) const {
    if (first < 0 || first > layout_.tokens || std::ssize(tokens) > layout_.tokens - first) {
        throw std::logic_error(fmt::format("Tokens {} to {} of \"{}\", which has {}.", first,
                                           first + std::ssize(tokens), path_.string(), layout_.tokens));
    }
    const std::uint64_t largest =
        widen(layout_.type, data_ + static_cast<std::size_t>(first) * bytes_of(layout_.type), tokens);
    if (file_) file_->require_whole();
    if (!checked_ || largest < limit_) return;
    const auto bad = std::find_if(tokens.begin(), tokens.end(),
                                  [&](std::int64_t t) { return static_cast<std::uint64_t>(t) >= limit_; });
    if (bad != tokens.end())
        refuse(first + (bad - tokens.begin()), *bad);  // else: no tokens were asked for, of no vocabulary
}

void TokenFile::refuse(std::int64_t position, std::int64_t token) const {
    if (format_ == DataFormat::text) {
        throw DataError(fmt::format(
            "\"{}\": token {} of the text is {}, outside the vocabulary of {}; tokenizer {} has {} tokens: set "
            "model.vocab_size to {} or more, or choose another data.tokenizer.",
            path_.string(), position, token, limit_, tokenizer_, tokenizer_size_, tokenizer_size_));
    }
    throw DataError(fmt::format(
        "\"{}\": token {} (byte {}, {}) is {}, outside the vocabulary of {}; the file is damaged, of another format "
        "than {} "
        "(data.format), or made for a larger vocabulary (model.vocab_size).",
        path_.string(), position, layout_.offset + static_cast<std::size_t>(position) * bytes_of(layout_.type),
        name(layout_.type), token, limit_, partition::word_of(format_)));
}

}  // namespace smp::runtime
