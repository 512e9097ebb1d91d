// If these fail, every rank of a machine tokenises the text for itself, or another text than the others.
#include "runtime/agreement/data_start.h"

#include <fstream>
#include <mutex>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/files/scratch_folder.h"
#include "tests/runtime/local_ranks.h"

namespace smp::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// The files behind this process's mappings whose names have `mark`.
std::set<std::string> mapped(const std::string& mark) {
    std::set<std::string> found;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        if (line.find(mark) == std::string::npos) continue;
        std::istringstream fields(line);
        std::string range, mode, offset, device, inode;
        fields >> range >> mode >> offset >> device >> inode;
        found.insert(device + " " + inode);
    }
    return found;
}

class DataOfAllRanks : public ::testing::Test {
  protected:
    DataOfAllRanks() {
        std::string text;
        for (int i = 0; i < 5000; ++i) text += "word " + std::to_string(i * 7919 % 1000) + " and ";
        start_.data.train = folder_.write("text.txt", text).string();
        start_.data.tokenizer = Tokenizer::gpt2;
        start_.data.validation_fraction = 0.1;
        start_.vocabulary = 50257;
        start_.sequence_length = 16;
    }

    /// On four ranks; how many files of tokens they have mapped together, and what they read.
    std::size_t open(const std::string& mark) {
        std::set<std::string> files;
        smp::testing::on_local_ranks(4, [&](comms::Communicator& world) {
            const OpenedData data = open_data(world, start_, {});
            std::vector<std::int64_t> inputs(16 * 8), targets(16 * 8);
            data.train->read(0, 8, inputs, targets);
            const std::lock_guard lock(mutex_);
            read_.insert(inputs);
            data.validation->read(0, 8, inputs, targets);
            validation_.insert(inputs);
            files.merge(mapped(mark));
            if (world.rank() == 0) warnings_ = data.warnings;
        });
        return files.size();
    }

    smp::testing::ScratchFolder folder_;
    DataStart start_;
    std::mutex mutex_;
    std::set<std::vector<std::int64_t>> read_, validation_;
    std::vector<std::string> warnings_;
};

TEST_F(DataOfAllRanks, IsTokenisedOnceForBothSetsInMemoryAndInAFolder) {
    EXPECT_EQ(open("memfd:smp-tokens"), 1U);
    start_.token_folder = folder_ / "tokens";
    EXPECT_EQ(open("/tokens/"), 1U);
    EXPECT_EQ(open("/tokens/"), 1U);
    EXPECT_EQ(read_.size(), 1U) << "memory and folder, or two ranks, have other tokens";
    EXPECT_EQ(validation_.size(), 1U);
    EXPECT_THAT(warnings_, IsEmpty());
    start_.token_folder = folder_ / "text.txt" / "tokens";  // cannot be
    EXPECT_EQ(open("memfd:smp-tokens"), 1U);
    EXPECT_EQ(read_.size(), 1U);
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_THAT(warnings_[0], HasSubstr("cannot be kept"));
}

}  // namespace
}  // namespace smp::runtime
