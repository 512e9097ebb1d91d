// One file of tokens, whatever its format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/token_cache.h"
#include "runtime/data/token_file_layout.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/mapped_file.h"

namespace smp::runtime {

struct TokenFileOptions {
    DataFormat format = DataFormat::automatic;
    std::int64_t vocab_size = 0;
    // Of text; needed while the file is opened only.
    const TextTokenizer* tokenizer = nullptr;
    TokenCache* cache = nullptr;  // none: for this file alone, in memory
    int token_bytes = 0;          // of nanogpt files: 2, 4 or 8; 0: as nanogpt_layout() does
    bool check_tokens = true;     // false: tokens may have any value, so that a doubtful file can be looked at
    bool refuse_doubtful = true;  // false: what looks like something else is read all the same, with a warning
};

/// Immutable: any number of threads may read one. Files stay in their mapping; text that is not read as bytes is
/// tokenised when it is opened, and its tokens lie in a mapping of the cache's.
class TokenFile {
  public:
    /// Files up to this size are searched for tokens outside the vocabulary when they are opened, others while they are
    /// read.
    static constexpr std::size_t kCheckedAtOpenBytes = std::size_t{64} << 20;

    /// Throws DataError: the file cannot be read, is damaged, of a format that is neither text nor tokens, looks like
    /// tokens of another width (content_doubt.h), or holds a token outside 0 … vocab_size − 1. The message begins with
    /// the file's path in quotes.
    TokenFile(const std::filesystem::path& path, const TokenFileOptions& options);

    const std::filesystem::path& path() const { return path_; }
    DataFormat format() const { return format_; }  ///< never automatic
    TokenType type() const { return layout_.type; }
    std::int64_t tokens() const { return layout_.tokens; }
    std::optional<std::int64_t> documents() const { return layout_.documents; }
    /// Sentences a person should see: what the file may be instead.
    const std::vector<std::string>& warnings() const { return warnings_; }

    /// Copies tokens first … first + size − 1, which must exist. Throws DataError at a token outside the vocabulary.
    void read(std::int64_t first, std::span<std::int64_t> tokens) const;

  private:
    void open_text(const TokenFileOptions& options);
    void look_at_content(const TokenFileOptions& options);
    [[noreturn]] void refuse(std::int64_t position, std::int64_t token) const;

    std::filesystem::path path_;
    DataFormat format_;
    TokenLayout layout_;
    bool checked_;
    std::uint64_t limit_;  // tokens are below, if checked
    std::string tokenizer_;
    std::int64_t tokenizer_size_ = 0;
    std::vector<std::string> warnings_;
    std::optional<MappedFile> file_;
    std::shared_ptr<const std::vector<std::byte>> memory_;  // of a text's tokens that are in no file
    const std::byte* data_ = nullptr;                       // the first token, in one of the two above
};

}  // namespace smp::runtime
