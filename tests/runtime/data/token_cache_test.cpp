// If these fail, a training reads tokens of another text than its own, or makes them again at every start.
#include "runtime/data/token_cache.h"

#include <csignal>
#include <cstring>
#include <sys/resource.h>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/token_file.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using testing::content;
using testing::expect_data_error;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;

using Tokens = std::vector<std::int64_t>;

const TextTokenizer& gpt2() {
    static const auto tokenizer = make_gpt2_tokenizer();
    return *tokenizer;
}

/// GPT-2's, and how often it was asked; `shift` makes another one of it.
class Counting final : public TextTokenizer {
  public:
    std::string_view name() const override { return "gpt2"; }
    std::int64_t vocab_size() const override { return size; }
    std::string identity() const override { return "counting " + std::to_string(shift); }
    std::optional<std::int64_t> end_of_text() const override { return std::nullopt; }
    using TextTokenizer::encode;
    void encode(std::string_view text, const EncodeOptions& options, const Sink& sink) const override {
        ++asked;
        gpt2().encode(text, options, [&](std::span<const std::int64_t> tokens, std::size_t bytes) {
            Tokens shifted(tokens.begin(), tokens.end());
            for (auto& token : shifted) token += shift;
            sink(shifted, bytes);
            if (stops) throw std::runtime_error("stopped in the middle");
        });
    }
    std::int64_t size = 50257, shift = 0;
    bool stops = false;
    mutable int asked = 0;

  protected:
    void append_bytes(std::int64_t, std::string&) const override {}
};

class TokenCacheTest : public ::testing::Test {
  protected:
    static std::string words(int count, const std::string& last = "end") {
        std::string text;
        for (int i = 0; i < count; ++i) text += "word " + std::to_string(i * 7919 % 1000) + " and ";
        return text + last;
    }

    Tokens tokens_by(TokenCache& cache) {
        const TokenFile file(text_, {.vocab_size = 60000, .tokenizer = &tokenizer_, .cache = &cache});
        Tokens tokens(file.tokens());
        file.read(0, tokens);
        return tokens;
    }
    /// At a new start, which ends with clearing the folder.
    Tokens tokens_anew() {
        TokenCache cache({.folder = kept_, .report = {}});
        Tokens tokens = tokens_by(cache);
        cache.remove_others();
        warnings_ = cache.warnings();
        return tokens;
    }
    std::vector<std::filesystem::path> files() const {
        std::vector<std::filesystem::path> found;
        if (std::filesystem::exists(kept_))
            for (const auto& entry : std::filesystem::directory_iterator(kept_)) found.push_back(entry.path());
        return found;
    }

    ScratchFolder folder_;
    std::filesystem::path kept_ = folder_ / "run" / "tokens";
    std::filesystem::path text_ = folder_.write("text.txt", words(20000));
    Counting tokenizer_;
    std::vector<std::string> warnings_;
};

TEST_F(TokenCacheTest, FindsWhatAnEarlierRunHasMade) {
    const Tokens tokens = tokens_anew();
    EXPECT_EQ(tokens, gpt2().encode(content(text_)));
    EXPECT_EQ(tokens_anew(), tokens);
    EXPECT_EQ(tokens_anew(), tokens);
    EXPECT_EQ(tokenizer_.asked, 1);
    EXPECT_EQ(files().size(), 1U);
    EXPECT_THAT(warnings_, IsEmpty());
    // The same text under another name and of another time.
    text_ = folder_.write("copy.txt", content(text_));
    EXPECT_EQ(tokens_anew(), tokens);
    EXPECT_EQ(tokenizer_.asked, 1);
}

TEST_F(TokenCacheTest, AChangedTextIsTokenisedAnewThoughItsLengthAndTimeAreTheSame) {
    tokens_anew();
    const auto time = std::filesystem::last_write_time(text_);
    folder_.write("text.txt", words(20000, "END"));
    std::filesystem::last_write_time(text_, time);
    EXPECT_EQ(tokens_anew(), gpt2().encode(words(20000, "END")));
    EXPECT_EQ(files().size(), 1U) << "what is not needed any more stays";
}

TEST_F(TokenCacheTest, AnotherTokenizerHasTokensOfItsOwn) {
    Tokens tokens = tokens_anew();
    tokenizer_.shift = 1;
    for (auto& token : tokens) ++token;
    EXPECT_EQ(tokens_anew(), tokens);
    tokenizer_.size = 70000;  // 4 bytes each
    tokenizer_.shift = 2;
    for (auto& token : tokens) ++token;
    EXPECT_EQ(tokens_anew(), tokens);
    EXPECT_EQ(std::filesystem::file_size(files().at(0)), 4096 + 4 * tokens.size());
}

TEST_F(TokenCacheTest, ADamagedFileIsMadeAgain) {
    const Tokens tokens = tokens_anew();
    const auto file = files().at(0);
    const std::string whole = content(file);
    const auto with = [&](std::size_t at, char byte) {
        std::string damaged = whole;
        damaged[at] = byte;
        return damaged;
    };
    const auto facts = whole.find(" tokens of ");
    int made = tokenizer_.asked;
    for (const std::string& damaged :
         {with(0, 'x'), with(30, 'x'), with(facts - 1, whole[facts - 1] == '1' ? '2' : '1'), with(facts + 11, '4'),
          with(5000, static_cast<char>(whole[5000] + 1)), with(whole.size() - 1, '\x7f'),
          whole.substr(0, whole.size() - 2), whole.substr(0, 4096), whole.substr(0, 100), whole + "ab",
          std::string()}) {
        std::ofstream(file, std::ios::binary) << damaged;
        EXPECT_EQ(tokens_anew(), tokens);
        EXPECT_EQ(tokenizer_.asked, ++made) << "a damaged file was read";
        EXPECT_EQ(content(file), whole);
    }
}

TEST_F(TokenCacheTest, WhatIsInterruptedLeavesNothing) {
    tokenizer_.stops = true;
    TokenCache cache({.folder = kept_, .report = {}});
    EXPECT_THROW(tokens_by(cache), std::runtime_error);
    EXPECT_THAT(files(), IsEmpty());
}

TEST_F(TokenCacheTest, RemovesNothingThatItHasNotMade) {
    tokens_anew();
    std::ofstream(kept_ / "notes.tokens") << "mine";
    std::ofstream(kept_ / ("0123456789abcdef0123456789abcdef" + std::string(".txt"))) << "mine";
    std::ofstream(kept_ / ("0123456789abcdef0123456789abcdef" + std::string(".tokens"))) << "stale";
    tokens_anew();
    EXPECT_EQ(files().size(), 3U);
    TokenCache cache({.folder = kept_, .report = {}});
    cache.remove_others();  // a job without text
    EXPECT_EQ(files().size(), 2U);
}

TEST_F(TokenCacheTest, WhereNothingCanBeKeptMemoryServesAndASentenceSaysSo) {
    folder_.write("run", "a file where a folder should be");
    TokenCache cache({.folder = kept_, .report = {}});
    const Tokens tokens = gpt2().encode(content(text_));
    EXPECT_EQ(tokens_by(cache), tokens);
    EXPECT_EQ(tokens_by(cache), tokens);
    EXPECT_EQ(tokenizer_.asked, 1);
    ASSERT_EQ(cache.warnings().size(), 1U);
    EXPECT_THAT(cache.warnings()[0], AllOf(HasSubstr("text.txt"), HasSubstr("cannot be kept: \"" + kept_.string())));
    TokenCache other({.folder = kept_, .report = {}});
    other.learn(cache.known());
    EXPECT_EQ(tokens_by(other), tokens);
    EXPECT_EQ(tokenizer_.asked, 1) << "each process holds tokens of its own";
    EXPECT_THAT(other.warnings(), IsEmpty());
}

TEST_F(TokenCacheTest, ADiskThatTakesOnlyAPartIsNoReasonToStop) {
    const Tokens tokens = gpt2().encode(content(text_));
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    rlimit little = before;
    little.rlim_cur = 50'000;
    ::setrlimit(RLIMIT_FSIZE, &little);
    TokenCache cache({.folder = kept_, .report = {}});
    const Tokens found = tokens_by(cache), again = tokens_by(cache);
    ::setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(found, tokens);
    EXPECT_EQ(again, tokens);
    ASSERT_EQ(cache.warnings().size(), 1U);
    EXPECT_THAT(cache.warnings()[0], HasSubstr("ulimit -f"));
    EXPECT_THAT(files(), IsEmpty());
}

TEST_F(TokenCacheTest, WhatOneHasMadeOthersNeitherMakeNorReadAgain) {
    for (const auto& place : {kept_, std::filesystem::path()}) {
        tokenizer_.asked = 0;
        TokenCache cache({.folder = place, .report = {}});
        const Tokens tokens = tokens_by(cache);
        int reports = 0;
        TokenCache other({.folder = place, .report = [&](const TextWork&) { ++reports; }});
        other.learn(cache.known());
        EXPECT_EQ(tokens_by(other), tokens);
        EXPECT_EQ(tokenizer_.asked, 1);
        EXPECT_EQ(reports, 0) << "the whole text was read";
    }
    // But for one whose text is another, they do not count.
    TokenCache cache({.folder = kept_, .report = {}});
    tokens_by(cache);
    folder_.write("text.txt", words(100));
    TokenCache other({.folder = {}, .report = {}});
    other.learn(cache.known());
    EXPECT_EQ(tokens_by(other), gpt2().encode(words(100)));
}

TEST_F(TokenCacheTest, SaysHowFarItHasCome) {
    std::vector<TextWork> reports;
    TokenCache cache({.folder = kept_, .report = [&](const TextWork& work) { reports.push_back(work); }});
    tokens_by(cache);
    const auto size = static_cast<std::int64_t>(content(text_).size());
    ASSERT_GT(reports.size(), 4U);
    EXPECT_THAT(reports.front().what, HasSubstr("reading \"" + text_.string()));
    EXPECT_THAT(reports.back().what, HasSubstr("tokenising \"" + text_.string()));
    EXPECT_EQ(reports.back().done, size);
    for (const TextWork& work : reports) EXPECT_EQ(work.of, size);
}

}  // namespace
}  // namespace smp::runtime
