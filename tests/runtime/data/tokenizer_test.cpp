#include "runtime/data/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "runtime/data/tokenizer_split.h"
#include "runtime/data/tokenizer_vocabulary.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::content;
using ::testing::ElementsAre;
using testing::expect_data_error;
using testing::golden;
using testing::ScratchFolder;

using Tokens = std::vector<std::int64_t>;

const TextTokenizer& gpt2() {
    static const auto tokenizer = make_gpt2_tokenizer();
    return *tokenizer;
}

TEST(Gpt2Tokenizer, EqualsTiktoken) {
    const auto cases = nlohmann::json::parse(content(golden("formats/gpt2_tokens.json")));
    ASSERT_GT(cases.size(), 10U);
    for (const auto& one : cases) {
        const auto text = one["text"].get<std::string>();
        SCOPED_TRACE(text);
        const auto tokens = gpt2().encode(text, {.special_tokens = one.value("special", false)});
        EXPECT_EQ(tokens, one["tokens"].get<Tokens>());
        EXPECT_EQ(gpt2().decode(tokens), text);
    }
}

TEST(Gpt2Tokenizer, EqualsTiktokenOnARealText) {
    const auto expected = nlohmann::json::parse(content(golden("formats/expected.json")));
    const auto tokens = expected["tokens"].get<Tokens>();
    const std::string text = gpt2().decode(tokens);
    EXPECT_EQ(gpt2().encode(text, {.special_tokens = true}), tokens);
}

TEST(Gpt2Tokenizer, KnowsItsVocabulary) {
    EXPECT_EQ(gpt2().vocab_size(), 50257);
    EXPECT_EQ(gpt2().end_of_text(), 50256);
    EXPECT_THAT(gpt2().encode("<|endoftext|>", {.special_tokens = true}), ElementsAre(50256));
    EXPECT_THAT(gpt2().encode(""), ElementsAre());
    EXPECT_THAT(gpt2().encode("", {.special_tokens = true}), ElementsAre());
    EXPECT_EQ(gpt2().decode(Tokens{50256}), "<|endoftext|>");
    expect_data_error(
        [] {
            gpt2().decode(Tokens{1, 2, 50257});
        },
        {"token 2 of the sequence is 50257", "tokens 0 to 50256"});
    expect_data_error([] { gpt2().decode(Tokens{-1}); }, {"is -1"});
}

/// The definition, without any care for speed.
Tokens encode_slowly(const TokenVocabulary& vocabulary, std::string_view piece) {
    std::vector<std::string> parts;
    for (const char c : piece) parts.emplace_back(1, c);
    for (;;) {
        std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
        std::size_t at = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const auto rank = vocabulary.rank(parts[i] + parts[i + 1]);
            if (rank && *rank < lowest) {
                lowest = *rank;
                at = i;
            }
        }
        if (lowest == std::numeric_limits<std::int64_t>::max()) break;
        parts[at] += parts[at + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    Tokens tokens;
    for (const std::string& part : parts) tokens.push_back(vocabulary.rank(part).value());
    return tokens;
}

// Short pieces are merged by scanning, long ones by a heap; both have to be the definition.
RC_GTEST_PROP(Gpt2Tokenizer, MergesAsDefined, ()) {
    static const TokenVocabulary vocabulary(gpt2_vocabulary_text(), "test");
    const auto letters =
        *rc::gen::element(std::string("ab"), std::string("aeinrst"), std::string("abcdefghijklmnopqrstuvwxyz"));
    const auto size = *rc::gen::inRange(1, 200);
    const auto piece = *rc::gen::container<std::string>(size, rc::gen::elementOf(letters));
    RC_ASSERT(gpt2().encode(piece) == encode_slowly(vocabulary, piece));
}

RC_GTEST_PROP(Gpt2Tokenizer, AnyBytesComeBack, (const std::string& bytes)) {
    RC_ASSERT(gpt2().decode(gpt2().encode(bytes)) == bytes);
}

RC_GTEST_PROP(Gpt2Tokenizer, AnyMixtureOfTextAndBytesComesBack, ()) {
    const auto parts = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
        " ", "\n", "word", "été", "\xc3", "\xa9", "\xf0\x9f\x91\xa9", "\xf0\x9f", "\xed\xa0\x80", "\xc0\x80", "\xff",
        "12", "'ll", "\xe2\x80\x83", "<|endoftext|>"));
    std::string text;
    for (const std::string& part : parts) text += part;
    for (const bool special : {false, true})
        RC_ASSERT(gpt2().decode(gpt2().encode(text, {.special_tokens = special})) == text);
}

std::vector<std::string> pieces_of(std::string_view text) {
    std::vector<std::string> pieces;
    split_gpt2(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
    return pieces;
}

TEST(SplitGpt2, CutsAsThePatternSays) {
    EXPECT_THAT(pieces_of("I'll  go, 42x\n\n y"), ElementsAre("I", "'ll", " ", " go", ",", " 42", "x", "\n\n", " y"));
    EXPECT_THAT(pieces_of("a \n"), ElementsAre("a", " \n"));
    // White space is Unicode's: U+0085 and U+3000 are, U+180E and U+200B are not.
    EXPECT_THAT(pieces_of("a\xc2\x85\xc2\x85"
                          "b"),
                ElementsAre("a", "\xc2\x85", "\xc2\x85", "b"));
    EXPECT_THAT(pieces_of("a\xe1\xa0\x8e\xe1\xa0\x8e"
                          "b"),
                ElementsAre("a", "\xe1\xa0\x8e\xe1\xa0\x8e", "b"));
}

TEST(SplitGpt2, InvalidUtf8IsAPieceOfItsOwn) {
    EXPECT_THAT(pieces_of("ab\xff\xfe"
                          "cd"),
                ElementsAre("ab", "\xff\xfe", "cd"));
    EXPECT_THAT(pieces_of("\xed\xa0\x80"), ElementsAre("\xed\xa0\x80"));          // a surrogate
    EXPECT_THAT(pieces_of("\xc0\xafx"), ElementsAre("\xc0\xaf", "x"));            // an overlong form
    EXPECT_THAT(pieces_of("\xf4\x90\x80\x80"), ElementsAre("\xf4\x90\x80\x80"));  // above U+10FFFF
    EXPECT_THAT(pieces_of("x\xe2\x82"), ElementsAre("x", "\xe2\x82"));            // cut off
}

// Quadratic work on these would take hours, not the seconds that ctest allows.
TEST(Gpt2Tokenizer, LongPiecesAreNotQuadratic) {
    for (const std::string& unit : {std::string("a"), std::string(" "), std::string("\n"), std::string("7"),
                                    std::string("ab"), std::string("\xff"), std::string("\xe6\x97\xa5")}) {
        std::string text;
        while (text.size() < 1'000'000) text += unit;
        text += "x";
        EXPECT_EQ(gpt2().decode(gpt2().encode(text)), text);
    }
}

TEST(Gpt2Tokenizer, HandsTokensOnInRuns) {
    std::string text;
    while (text.size() < 500'000) text += "some words and more words. ";
    Tokens all;
    int runs = 0;
    std::size_t done = 0;
    gpt2().encode(text, {}, [&](std::span<const std::int64_t> tokens, std::size_t bytes) {
        EXPECT_LT(tokens.size(), 20000U);
        EXPECT_EQ(gpt2().decode(tokens), text.substr(done, bytes));
        done += bytes;
        all.insert(all.end(), tokens.begin(), tokens.end());
        ++runs;
    });
    EXPECT_GT(runs, 3);
    EXPECT_EQ(done, text.size());
    EXPECT_EQ(all, gpt2().encode(text));
}

TEST(TokenVocabulary, IsGpt2sOwnWhereNoneIsGiven) {
    EXPECT_EQ(gpt2_vocabulary_text(), content(std::filesystem::path(SMP_SOURCE_DIR) / "configs/data/gpt2.tiktoken"));
}

TEST(TokenVocabulary, FilesAreChecked) {
    const ScratchFolder folder;
    const std::string whole(gpt2_vocabulary_text());
    const auto tokenizer = make_gpt2_tokenizer(folder.write("v", whole));
    EXPECT_THAT(tokenizer->encode("Hello, world!"), ElementsAre(15496, 11, 995, 0));
    const std::string bytes_only = whole.substr(0, whole.find(" 256\n"));
    const std::string first = bytes_only.substr(0, bytes_only.rfind('\n') + 1);
    EXPECT_EQ(make_gpt2_tokenizer(folder.write("v", first))->vocab_size(), 257);

    const auto refused = [&](const std::string& text, const std::vector<std::string>& parts) {
        expect_data_error([&] { make_gpt2_tokenizer(folder.write("v", text)); }, parts);
    };
    refused(first + "aGk=\n", {"v\", line 257", "base64 token and a space"});
    refused(first + "a*k= 256\n", {"line 257", "base64"});
    refused(first + "aGk 256\n", {"line 257", "base64"});
    refused(first + "aGk= x\n", {"line 257", "\"x\" is no rank"});
    refused(first + "aGk= 257\n", {"line 257", "the rank is 257 where 256 comes next"});
    refused(first + "aGk= 256\naGk= 257\n", {"line 258", "the same token stands in an earlier line"});
    refused("aGk= 0\n", {"the single byte 0x00 is missing among its 1 tokens"});
    refused("{\"hello\": 1}", {"line 1"});
    expect_data_error([&] { make_gpt2_tokenizer(folder / "none"); }, {"none\" does not exist"});
}

TEST(ByteTokenizer, TokensAreBytes) {
    const auto tokenizer = make_byte_tokenizer();
    EXPECT_EQ(tokenizer->vocab_size(), 256);
    EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
    EXPECT_THAT(tokenizer->encode("a\xff\n"), ElementsAre(97, 255, 10));
    EXPECT_EQ(tokenizer->decode(Tokens{97, 255, 10}), "a\xff\n");
    const std::string text(10000, 'x');
    EXPECT_EQ(tokenizer->encode(text).size(), 10000U);
    expect_data_error([&] { tokenizer->decode(Tokens{256}); }, {"is 256", "0 to 255"});
}

}  // namespace
}  // namespace smp::runtime
