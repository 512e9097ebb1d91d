// A file that is no JSON gets one sentence with the place; a key that stands twice is found wherever it stands.
#include "launch/config/json_text.h"

#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/small_config.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::testing {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string refusal(const std::string& text) {
    const ScratchFolder folder;
    std::vector<partition::Problem> problems;
    try {
        launch::read_json_object(folder.write("bad.json", text), problems);
    } catch (const partition::ConfigError& error) {
        EXPECT_EQ(error.problems().size(), 1U);
        return error.what();
    }
    return "none";
}

TEST(JsonText, SyntaxErrorsHaveLineAndColumn) {
    EXPECT_THAT(refusal("{\n  \"a\": 1,\n}"),
                AllOf(HasSubstr("bad.json: line 3, column 1: not JSON: "), HasSubstr("unexpected '}'"),
                      EndsWith("remove the comma before it")));
    EXPECT_THAT(refusal("{\n  \"a\" 1\n}"), HasSubstr("line 2, column 7: "));
    EXPECT_THAT(refusal("{"), HasSubstr("line 1, column 2: "));
    EXPECT_THAT(refusal(""), HasSubstr("line 1, column 1: "));
    EXPECT_THAT(refusal("{\"a\": 1} // the end\n x"), HasSubstr("line 2, column 2: "));
    EXPECT_THAT(refusal("{\"a\": \"\xff\"}"), HasSubstr("not JSON"));
    EXPECT_THAT(refusal("{\"a\": [1, 2,]}"), EndsWith("remove the comma before it"));
}

TEST(JsonText, OnlyObjectsThatDoublesCanHold) {
    EXPECT_THAT(refusal("[1]"), AllOf(HasSubstr("[1]"), HasSubstr("an object")));
    EXPECT_THAT(refusal("{\"a\": 1e999}"), HasSubstr("1e999"));
}

TEST(JsonText, FilesThatCannotBeRead) {
    std::vector<partition::Problem> problems;
    const ScratchFolder folder;
    for (const auto& [path, reason] :
         {std::pair{folder / "none.json", "No such file"}, std::pair{folder.path(), "is a directory"}}) {
        try {
            launch::read_json_object(path, problems);
            ADD_FAILURE() << path;
        } catch (const partition::ConfigError& error) {
            EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr(reason)));
        }
    }
}

TEST(JsonText, WhatIsFarFromAConfigurationIsRefusedBeforeItIsRead) {
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    EXPECT_THAT(refusal("{\"a\": " + deep + "}"), HasSubstr("nests more than 32"));
    std::string objects;
    for (int i = 0; i < 50'000; ++i) objects += "{\"a\": ";
    EXPECT_THAT(refusal(objects), HasSubstr("nests more than 32"));
    EXPECT_THAT(refusal("{\"a\": \"" + std::string(5 << 20, 'x') + "\"}"), HasSubstr("at most 4194304"));
    std::string keys = "{\"a\": 1";
    for (int i = 0; i < 20'000; ++i) keys += fmt::format(",\"{}\":1", i);
    EXPECT_THAT(refusal(keys + "}"), HasSubstr("more than 2000 keys"));
    std::string list = "{\"a\": [[]";
    for (int i = 0; i < 400'000; ++i) list += ",[]";
    EXPECT_EQ(refusal(list + "]}"), "none");  // linear: the test's time limit would end anything else

    EXPECT_TRUE(launch::parse_json_value(deep).is_discarded());
    EXPECT_EQ(launch::parse_json_value("[\"[[\", {\"a\": 1}]").size(), 2U);
    EXPECT_THAT(only_problem(problems_of(small_config(), {"parallel.stage_layers=" + deep})),
                HasSubstr("parallel.stage_layers = \"[[["));
}

TEST(JsonText, OnlyRegularFiles) {
    std::vector<partition::Problem> problems;
    const ScratchFolder folder;
    ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
    for (const std::filesystem::path& path : {std::filesystem::path("/dev/zero"), folder / "pipe"}) {
        try {
            launch::read_json_object(path, problems);
            ADD_FAILURE() << path;
        } catch (const partition::ConfigError& error) {
            EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr("no regular file")));
        }
    }
}

TEST(JsonText, CommentsAreSkippedAndDuplicatesNamed) {
    const ScratchFolder folder;
    std::vector<partition::Problem> problems;
    const auto file = folder.write("twice.json", R"(// first
        {"a": {"x": 1, /* inside */ "y": {"z": 1, "z": 2}, "x": 3}, "b": {"x": 1}, "a": 4, "list": [{"x": 1}, {"x": 2}]})");
    const launch::Json value = launch::read_json_object(file, problems);
    std::vector<std::string> keys;
    for (const auto& problem : problems) keys.push_back(problem.key);
    EXPECT_EQ(keys, (std::vector<std::string>{"a.y.z", "a.x", "a"}));
    EXPECT_EQ(problems.front().origin, file.string());
}

TEST(JsonText, LongValuesAreShortenedBetweenCharacters) {
    EXPECT_EQ(launch::shown_json("x"), "\"x\"");
    for (int start = 0; start < 4; ++start) {
        std::string text(start, 'a');
        for (int i = 0; i < 100; ++i) text += "\xE2\x82\xAC";
        const std::string shown = launch::shown_json(text);
        EXPECT_LT(shown.size(), 90U);
        EXPECT_EQ(launch::Json(shown).dump().find("\xEF\xBF\xBD"), std::string::npos);  // valid UTF-8, or dump() throws
    }
}

}  // namespace
}  // namespace smp::testing
