// Nothing from a file, a name or a sample moves the cursor of a terminal or fills it.
#include "runtime/files/shown_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "runtime/files/utf8.h"

namespace smp::runtime {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(ShownText, EscapesWhatATerminalWouldObey) {
    EXPECT_EQ(escaped("plain\ttext\n\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
              "plain\ttext\n\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    EXPECT_EQ(escaped("\x1b[2J\a\r\x7f"), "\\x1b[2J\\x07\\x0d\\x7f");
    EXPECT_EQ(escaped(std::string_view("a\0b", 3)), "a\\x00b");
    EXPECT_EQ(escaped("caf\xe9!\xff"), "caf\\xe9!\\xff");
    EXPECT_EQ(escaped("\xc2\x9b"
                      "31m"),
              "\\xc2\\x9b31m");  // CSI in one character
    EXPECT_EQ(escaped("\xe2\x80\xae"
                      "txt"),
              "\\xe2\\x80\\xaetxt");                        // right-to-left override
    EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half of a surrogate pair
}

RC_GTEST_PROP(ShownText, IsUtf8WithoutControlCharacters, (const std::string& bytes)) {
    const std::string shown = escaped(bytes);
    RC_ASSERT(is_utf8(shown));
    RC_ASSERT(std::none_of(shown.begin(), shown.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    }));
    RC_ASSERT(escaped(shown) == shown);
}

TEST(ShownText, MessagesHaveALengthThatCanBeRead) {
    EXPECT_EQ(readable_message("one\ntwo"), "one\ntwo");
    const std::string cut = readable_message("key = \"" + std::string(1'000'000, 'x') + "\": remedy");
    EXPECT_LT(cut.size(), 2000U);
    EXPECT_THAT(cut, HasSubstr("bytes ...]"));
    EXPECT_THAT(cut, EndsWith("xxx\": remedy"));
    std::string wide;
    for (int i = 0; i < 100'000; ++i) wide += "\xe2\x82\xac";
    EXPECT_TRUE(is_utf8(readable_message(wide)));
    std::string lines;
    for (int i = 0; i < 1000; ++i) lines += "problem\n";
    EXPECT_THAT(readable_message(lines + "last"), EndsWith("\n... and 961 more lines"));
}

}  // namespace
}  // namespace smp::runtime
