// The tokens of plain text, made once: kept in a folder from one run to the next, or in memory while they are used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/token_file_layout.h"
#include "runtime/data/tokenizer.h"
#include "runtime/files/mapped_file.h"

namespace smp::runtime {

/// How far long work on a text has come.
struct TextWork {
    std::string what;               // "tokenising \"/data/book.txt\""
    std::int64_t done = 0, of = 0;  // bytes of the text
};

/// Tokens of 2 or 4 bytes.
struct TextTokens {
    std::optional<MappedFile> file;
    std::shared_ptr<const std::vector<std::byte>> memory;  // where there is no file
    TokenLayout layout;

    std::span<const std::byte> bytes() const { return file ? file->bytes() : std::span(*memory); }
};

/// What is kept is found again by what it was made of: a sum over the whole text, its length, and the tokenizer's
/// identity stand in the file, with a sum over the tokens; a text that was changed, in whatever way, and tokens that
/// were, are made anew. A file is complete under its name or not there. One thread at a time.
class TokenCache {
  public:
    struct Settings {
        /// Made when it is needed. Empty, and where nothing can be written there: in memory, which all processes of
        /// this machine share that learn of it, unless the limit on the size of files (ulimit -f) forbids that too.
        std::filesystem::path folder = {};
        std::function<void(const TextWork&)> report = {};  // often, while work is under way
    };
    explicit TokenCache(Settings settings);
    ~TokenCache();
    TokenCache(TokenCache&& other) noexcept;
    TokenCache& operator=(TokenCache&&) = delete;

    /// Throws DataError where the text changes while it is read.
    TextTokens tokens_of(const MappedFile& text, const TextTokenizer& tokenizer);

    /// What was asked for until now, for caches of other processes and threads on this machine. Those need not read a
    /// text again that has the same length and time for them; memory stays theirs as long as this lives. What is not
    /// there for them they make themselves.
    std::string known() const;
    void learn(std::string_view known);

    /// Sentences a person should see: what could not be kept, and why.
    const std::vector<std::string>& warnings() const { return warnings_; }

    /// Removes from the folder what was not asked for.
    void remove_others() const;

  private:
    struct Entry;
    class Target;
    class InFolder;
    class InSharedMemory;
    class InOwnMemory;

    Entry made(const MappedFile& text, const TextTokenizer& tokenizer, Entry entry);
    static void write(const MappedFile& text, const TextTokenizer& tokenizer, Entry& entry,
                      const std::function<void(const char* what, std::size_t done)>& report, Target& target);
    static std::optional<TextTokens> opened(const Entry& entry);
    void report(const char* what, const MappedFile& text, std::size_t done) const;

    Settings settings_;
    std::vector<Entry> entries_;
    std::vector<int> memory_;  // descriptors
    std::vector<std::string> warnings_;
};

}  // namespace smp::runtime
