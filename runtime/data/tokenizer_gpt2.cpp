// GPT-2's byte-pair encoding (Sennrich et al. 2016, over bytes as in Radford et al. 2019): within a piece, the
// neighbours whose union has the lowest rank merge first, the leftmost of equals, until none can.
#include <array>
#include <limits>
#include <queue>
#include <span>

#include <fmt/format.h>

#include "runtime/data/tokenizer.h"
#include "runtime/data/tokenizer_split.h"
#include "runtime/data/tokenizer_vocabulary.h"
#include "runtime/files/data_error.h"
#include "runtime/files/mapped_file.h"
#include "runtime/files/sum128.h"

namespace smp::runtime {
namespace {

constexpr std::int64_t kNoMerge = std::numeric_limits<std::int64_t>::max();
constexpr std::string_view kEndOfText = "<|endoftext|>";

class Gpt2Tokenizer final : public TextTokenizer {
  public:
    Gpt2Tokenizer(std::string_view vocabulary, std::string_view source)
        : vocabulary_(vocabulary, source), identity_("gpt2 " + sum128(std::as_bytes(std::span(vocabulary)))) {}

    std::string_view name() const override { return "gpt2"; }
    std::int64_t vocab_size() const override { return vocabulary_.size() + 1; }
    std::string identity() const override { return identity_; }
    std::optional<std::int64_t> end_of_text() const override { return vocabulary_.size(); }

    using TextTokenizer::encode;
    void encode(std::string_view text, const EncodeOptions& options, const Sink& sink) const override {
        std::vector<std::int64_t> tokens;
        std::size_t bytes = 0;
        const auto flush = [&] {
            if (!tokens.empty()) sink(tokens, bytes);
            tokens.clear();
            bytes = 0;
        };
        for (;;) {
            const std::size_t special = options.special_tokens ? text.find(kEndOfText) : text.npos;
            split_gpt2(text.substr(0, special), [&](std::string_view piece) {
                merge(piece, tokens);
                bytes += piece.size();
                if (tokens.size() >= kRun) flush();
            });
            if (special == text.npos) break;
            tokens.push_back(vocabulary_.size());
            bytes += kEndOfText.size();
            text.remove_prefix(special + kEndOfText.size());
        }
        flush();
    }

  protected:
    void append_bytes(std::int64_t token, std::string& text) const override {
        text += token == vocabulary_.size() ? kEndOfText : vocabulary_.bytes(token);
    }

  private:
    static constexpr std::size_t kRun = 16384;  // tokens handed on at once, or those of one piece
    static constexpr std::size_t kShort = 64;   // up to here, scanning is faster than a heap

    std::int64_t rank_of(std::string_view bytes) const {
        return bytes.size() > vocabulary_.longest() ? kNoMerge : vocabulary_.rank(bytes).value_or(kNoMerge);
    }

    void merge(std::string_view piece, std::vector<std::int64_t>& tokens) const {
        if (const std::int64_t whole = rank_of(piece); whole != kNoMerge) {
            tokens.push_back(whole);
        } else if (piece.size() <= kShort) {
            merge_by_scanning(piece, tokens);
        } else {
            merge_by_heap(piece, tokens);
        }
    }

    void merge_by_scanning(std::string_view piece, std::vector<std::int64_t>& tokens) const {
        struct Part {
            std::size_t begin;
            std::int64_t rank;  // of this part together with the next
        };
        std::array<Part, kShort + 1> parts;
        std::size_t count = piece.size();  // the last entry marks the end
        const auto between = [&](std::size_t i, std::size_t j) {
            return piece.substr(parts[i].begin, parts[j].begin - parts[i].begin);
        };
        const auto rate = [&](std::size_t i) {
            parts[i].rank = i + 2 <= count ? rank_of(between(i, i + 2)) : kNoMerge;
        };
        for (std::size_t i = 0; i <= count; ++i) parts[i].begin = i;
        for (std::size_t i = 0; i < count; ++i) rate(i);
        for (;;) {
            std::size_t best = 0;
            for (std::size_t i = 1; i < count; ++i) {
                if (parts[i].rank < parts[best].rank) best = i;
            }
            if (parts[best].rank == kNoMerge) break;
            std::move(parts.begin() + best + 2, parts.begin() + count + 1, parts.begin() + best + 1);
            --count;
            rate(best);
            if (best > 0) rate(best - 1);
        }
        for (std::size_t i = 0; i < count; ++i) tokens.push_back(vocabulary_.rank(between(i, i + 1)).value());
    }

    void merge_by_heap(std::string_view piece, std::vector<std::int64_t>& tokens) const {
        struct Candidate {
            std::int64_t rank;
            std::size_t begin, end;  // of both parts together
            bool operator>(const Candidate& other) const {
                return rank != other.rank ? rank > other.rank : begin > other.begin;
            }
        };
        // Parts by their first byte. A part that was swallowed has next 0; the entry at the end is a sentinel.
        const std::size_t end = piece.size();
        std::vector<std::size_t> next(end + 1), previous(end + 1);
        std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
        const auto propose = [&](std::size_t part) {
            if (next[part] == end) return;
            const std::size_t stop = next[next[part]];
            if (const std::int64_t rank = rank_of(piece.substr(part, stop - part)); rank != kNoMerge)
                candidates.push({rank, part, stop});
        };
        for (std::size_t i = 0; i < end; ++i) {
            next[i] = i + 1;
            previous[i + 1] = i;
        }
        for (std::size_t i = 0; i < end; ++i) propose(i);
        while (!candidates.empty()) {
            const Candidate best = candidates.top();
            candidates.pop();
            const std::size_t middle = next[best.begin];
            // Out of date: one of the two parts has merged with another in the meantime.
            if (middle == 0 || middle == end || next[middle] != best.end) continue;
            next[best.begin] = best.end;
            previous[best.end] = best.begin;
            next[middle] = 0;
            propose(best.begin);
            if (best.begin > 0) propose(previous[best.begin]);
        }
        for (std::size_t part = 0; part < end; part = next[part]) {
            tokens.push_back(vocabulary_.rank(piece.substr(part, next[part] - part)).value());
        }
    }

    TokenVocabulary vocabulary_;
    std::string identity_;
};

}  // namespace

std::unique_ptr<TextTokenizer> make_gpt2_tokenizer(const std::filesystem::path& vocabulary) {
    if (vocabulary.empty()) return std::make_unique<Gpt2Tokenizer>(gpt2_vocabulary_text(), "the built-in vocabulary");
    const MappedFile file(vocabulary);
    constexpr std::size_t kLongest = std::size_t{64} << 20;  // GPT-2's takes 0.8 MiB
    if (file.size() > kLongest) {
        throw DataError(
            fmt::format("\"{}\" is {} bytes long, where a vocabulary has at most {}; name a file as "
                        "tiktoken's gpt2.tiktoken.",
                        vocabulary.string(), file.size(), kLongest));
    }
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
    auto tokenizer = std::make_unique<Gpt2Tokenizer>(text, fmt::format("\"{}\"", vocabulary.string()));
    file.require_whole();
    return tokenizer;
}

}  // namespace smp::runtime
