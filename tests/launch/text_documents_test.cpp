// Where documents begin and end, in texts as other programs write them.
#include "launch/data/text_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/files/data_error_matchers.h"

namespace smp::testing {
namespace {

using launch::DocumentRule;
using ::testing::ElementsAre;

std::vector<std::string> documents(DocumentRule rule, std::string_view text) {
    std::vector<std::string> found;
    launch::for_each_document(text, {.rule = rule}, "x",
                              [&](std::string_view document) { found.emplace_back(document); });
    return found;
}

TEST(TextDocuments, BlankLinesEndParagraphsHoweverLinesEnd) {
    const auto paragraphs = [](std::string_view text) { return documents(DocumentRule::paragraph, text); };
    EXPECT_THAT(paragraphs("a\nb\n\nc\n"), ElementsAre("a\nb", "c"));
    EXPECT_THAT(paragraphs("a\r\nb\r\n\r\nc\r\n"), ElementsAre("a\r\nb", "c"));
    EXPECT_THAT(paragraphs("a\n  \t\nb\n \r\nc"), ElementsAre("a", "b", "c"));
    EXPECT_THAT(paragraphs("\n\n  a\n\n\n\n b \n\n"), ElementsAre("  a", " b "));
    EXPECT_THAT(paragraphs(" \n\r\n"), ElementsAre());
}

TEST(TextDocuments, OnlyTheTextOfAJsonLineHasToBeJson) {
    const auto lines = [](std::string_view text) { return documents(DocumentRule::jsonl, text); };
    EXPECT_THAT(lines(R"({"id": "\ud800", "text": "a"})"), ElementsAre("a"));
    EXPECT_THAT(lines(R"({"text": "a", "score": NaN, "most": -Infinity, "big": 1e999})"), ElementsAre("a"));
    EXPECT_THAT(lines(R"({"x": {"text": "inner", "list": [1, [2, {"text": "]"}]]}, "text": "\u00e9\ud83d\ude00\n"})"),
                ElementsAre("\xc3\xa9\xf0\x9f\x98\x80\n"));
    EXPECT_THAT(lines("{\"text\": \"a\"}\r\n\r\n{ \"te\\u0078t\" : \"b\" }\n"), ElementsAre("a", "b"));
    EXPECT_THAT(lines("\xef\xbb\xbf{\"text\": \"a\"}"), ElementsAre("a"));
    EXPECT_THAT(lines(R"({"text": "a", "text": "b"})"), ElementsAre("b"));
    EXPECT_THAT(lines("{\"deep\": " + std::string(200'000, '[') + std::string(200'000, ']') + ", \"text\": \"a\"}"),
                ElementsAre("a"));
    EXPECT_THAT(lines("{\"name\": \"caf\xe9\", \"text\": \"a\"}"), ElementsAre("a"));
}

TEST(TextDocuments, LinesThatAreNoJsonAreRefusedWithTheirNumber) {
    const auto refused = [](const std::string& line, const std::vector<std::string>& parts) {
        testing::expect_data_error([&] { documents(DocumentRule::jsonl, "{\"text\": \"a\"}\n" + line); }, parts);
    };
    refused("text", {"line 2: this is no JSON object", "column 1"});
    refused("[]", {"line 2: this is no JSON object"});
    refused(R"({"text": "a")", {"line 2", "no ','"});
    refused(R"({"text": "a)", {"line 2", "does not end"});
    refused(R"({"text": "a"} x)", {"line 2", "goes on behind its object"});
    refused(R"({"x": [1, 2}, "text": "a"})", {"line 2", "is not JSON at column 12"});
    refused(R"({"text": "\ud800"})", {"line 2", "surrogate"});
    refused("{\"text\": \"caf\xe9\"}", {"line 2", "not UTF-8"});
    refused(R"({"text": 7})", {"line 2: the object has no text under \"text\"", "--json-key"});
    refused(R"({"content": "a"})", {"line 2: the object has no text under \"text\""});
    refused(R"({"text": "a", "text": null})", {"line 2: the object has no text"});
}

}  // namespace
}  // namespace smp::testing
