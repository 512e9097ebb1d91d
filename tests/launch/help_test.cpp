// The help on keys: nothing runs past the terminal, nothing runs together.
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/config/config.h"
#include "launch/config/keys.h"
#include "partition/job/problem.h"

namespace smp::launch {
namespace {

TEST(Help, FoldsAtTheWidth) {
    for (const std::size_t width : {40, 60, 80, 120}) {
        std::istringstream text(keys_help("", width));
        for (std::string line; std::getline(text, line);) {
            // A longer word (a list of JSON without spaces) stands alone.
            const bool is_word = line.find(' ', line.find_first_not_of(' ')) == std::string::npos;
            EXPECT_TRUE(line.size() <= width || is_word) << width << ": " << line;
        }
    }
}

TEST(Help, SaysTheSameHoweverItFolds) {
    const auto words_at = [](std::size_t width) {
        std::istringstream text(keys_help("", width));
        std::string words;
        for (std::string word; text >> word;) words += word + " ";
        return words;
    };
    EXPECT_EQ(words_at(40), words_at(100'000));
    for (const Key& key : configuration_keys()) EXPECT_THAT(words_at(80), ::testing::HasSubstr(key.name + " "));
}

TEST(Help, IsThatOfOneSectionOnRequest) {
    std::string all;
    for (const std::string& section : configuration_sections()) {
        const std::string one = keys_help(section, 80);
        EXPECT_TRUE(one.starts_with(section + "\n"));
        all += (all.empty() ? "" : "\n") + one;
    }
    EXPECT_EQ(keys_help("", 80), all);
    EXPECT_THROW((void)keys_help("paralel", 80), partition::ConfigError);
}

}  // namespace
}  // namespace smp::launch
