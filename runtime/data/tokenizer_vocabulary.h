// The tokens of a byte-pair encoding and the ranks in which they are merged.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smp::runtime {

/// A two-way table between byte strings and ranks. A rank is both the token's number and its priority: the lower, the
/// earlier two neighbours merge into it. Ranks are 0 … size() − 1 without gaps, and all 256 single bytes are among the
/// tokens, so that any text can be encoded.
class TokenVocabulary {
  public:
    /// `text`: one "base64(token) rank" a line; `source` names it in messages. Throws DataError with the line.
    TokenVocabulary(std::string_view text, std::string_view source);

    std::int64_t size() const { return static_cast<std::int64_t>(starts_.size()) - 1; }
    std::size_t longest() const { return longest_; }  ///< bytes of the longest token
    std::string_view bytes(std::int64_t rank) const {
        return std::string_view(pool_).substr(starts_[rank], starts_[rank + 1] - starts_[rank]);
    }
    std::optional<std::int64_t> rank(std::string_view bytes) const;

  private:
    bool insert(std::uint32_t rank);  ///< false: the bytes are there already

    struct Slot {
        std::uint32_t hash = 0;
        std::uint32_t rank_plus_one = 0;  // 0: free
    };

    std::string pool_;                 // the tokens' bytes, in order of rank
    std::vector<std::size_t> starts_;  // one more than there are tokens
    std::vector<Slot> slots_;          // a power of two, at most half full
    std::size_t longest_ = 0;
};

/// The text of GPT-2's vocabulary, built into the program from configs/data/gpt2.tiktoken.
std::string_view gpt2_vocabulary_text();

}  // namespace smp::runtime
