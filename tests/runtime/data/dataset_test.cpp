#include "runtime/data/dataset.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "runtime/data/dataset_order.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::expect_data_error;
using ::testing::HasSubstr;
using testing::ScratchFolder;

std::vector<std::int64_t> order_of(std::int64_t count, std::uint64_t seed, std::int64_t epoch) {
    const EpochPermutation permutation(count, seed, epoch);
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < count; ++i) order.push_back(permutation(i));
    return order;
}

TEST(EpochPermutation, VisitsEverySampleOnceForEveryCount) {
    for (std::int64_t count = 1; count <= 600; ++count) {
        std::vector<std::int64_t> order = order_of(count, 7, count % 5);
        std::sort(order.begin(), order.end());
        for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(order[i], i) << count;
    }
}

RC_GTEST_PROP(EpochPermutation, IsABijectionForAnyKey, (std::uint64_t seed, std::uint16_t epoch)) {
    const auto count = *rc::gen::inRange<std::int64_t>(1, 5000);
    std::vector<std::int64_t> order = order_of(count, seed, epoch);
    std::sort(order.begin(), order.end());
    for (std::int64_t i = 0; i < count; ++i) RC_ASSERT(order[i] == i);
}

TEST(EpochPermutation, HoldsForCountsThatCannotBeListed) {
    for (const std::int64_t count : {std::int64_t{1} << 40, (std::int64_t{1} << 40) + 1, INT64_MAX}) {
        const EpochPermutation permutation(count, 1, 0);
        std::set<std::int64_t> seen;
        for (std::int64_t i = 0; i < 1000; ++i) {
            const std::int64_t value = permutation(count - 1 - i);
            ASSERT_GE(value, 0);
            ASSERT_LT(value, count);
            ASSERT_TRUE(seen.insert(value).second);
        }
    }
}

TEST(EpochPermutation, DependsOnSeedAndEpoch) {
    std::set<std::vector<std::int64_t>> orders;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        for (std::int64_t epoch = 0; epoch < 20; ++epoch) orders.insert(order_of(50, seed, epoch));
    }
    EXPECT_EQ(orders.size(), 400U);
}

// Where each of n samples comes over many epochs is uniform: n² cells with E visits each, whose sum of (visits − E)²/E
// has mean (n−1)² and variance about 2(n−1)². Six standard deviations.
TEST(EpochPermutation, PutsEverySampleEverywhere) {
    for (const int n : {2, 3, 7, 10, 33}) {
        constexpr int kEpochs = 20000;
        std::vector<double> visits(static_cast<std::size_t>(n) * n);
        for (int epoch = 0; epoch < kEpochs; ++epoch) {
            const EpochPermutation permutation(n, 42, epoch);
            for (int i = 0; i < n; ++i) ++visits[i * n + permutation(i)];
        }
        const double expected = static_cast<double>(kEpochs) / n;
        double sum = 0;
        for (const double v : visits) sum += (v - expected) * (v - expected) / expected;
        const double mean = (n - 1.0) * (n - 1.0);
        EXPECT_LT(sum, mean + 6 * std::sqrt(2 * mean)) << n;
    }
}

// Checkpoints hold a position in this order and nothing else: another order would train on other samples after a
// resume.
TEST(EpochPermutation, NeverChanges) {
    EXPECT_THAT(order_of(10, 1, 0), ElementsAre(4, 3, 8, 5, 6, 7, 1, 2, 0, 9));
    EXPECT_THAT(order_of(10, 1, 1), ElementsAre(4, 8, 0, 5, 2, 3, 7, 1, 9, 6));
    EXPECT_EQ(EpochPermutation(1'000'000'007, 1234, 56)(789), 423513697);
}

/// Samples as read() gives them: T inputs and T targets each.
std::vector<std::vector<std::int64_t>> read_all(const Dataset& data, std::int64_t first, std::int64_t count) {
    const std::int64_t length = data.sequence_length();
    std::vector<std::int64_t> inputs(count * length), targets(count * length);
    data.read(first, count, inputs, targets);
    std::vector<std::vector<std::int64_t>> samples;
    for (std::int64_t i = 0; i < count; ++i) {
        std::vector<std::int64_t> sample(inputs.begin() + i * length, inputs.begin() + (i + 1) * length);
        sample.insert(sample.end(), targets.begin() + i * length, targets.begin() + (i + 1) * length);
        samples.push_back(std::move(sample));
    }
    return samples;
}

/// Files whose tokens all differ: file f counts from 1000·f.
class DatasetTest : public ::testing::Test {
  protected:
    DataOptions make_files(const std::vector<std::int64_t>& sizes) {
        for (std::size_t f = 0; f < sizes.size(); ++f) {
            std::vector<std::uint16_t> tokens(sizes[f]);
            std::iota(tokens.begin(), tokens.end(), 1000 * f);
            folder_.write_tokens(fmt::format("part{}.bin", f), tokens);
        }
        DataOptions options;
        options.train = folder_ / "part*.bin";
        options.order = DataOrder::sequential;
        return options;
    }

    ScratchFolder folder_;
};

TEST_F(DatasetTest, SampleIsTokensAndTheirSuccessors) {
    const Dataset data = open_dataset(make_files({9}), DataSplit::train, 50257, 4, 1);
    EXPECT_EQ(data.samples(), 2);
    EXPECT_THAT(read_all(data, 0, 2),
                ElementsAre(ElementsAre(0, 1, 2, 3, 1, 2, 3, 4), ElementsAre(4, 5, 6, 7, 5, 6, 7, 8)));
}

TEST_F(DatasetTest, SamplesNeverCrossFilesAndEpochsFollowWithoutAGap) {
    const Dataset data = open_dataset(make_files({8, 4, 3, 7}), DataSplit::train, 50257, 3, 1);
    // ⌊7/3⌋ + ⌊3/3⌋ + ⌊2/3⌋ + ⌊6/3⌋
    EXPECT_EQ(data.samples(), 5);
    EXPECT_EQ(data.tokens(), 15);
    std::vector<std::int64_t> firsts;
    for (const auto& sample : read_all(data, 0, 12)) firsts.push_back(sample[0]);
    EXPECT_THAT(firsts, ElementsAre(0, 3, 1000, 3000, 3003, 0, 3, 1000, 3000, 3003, 0, 3));
    ASSERT_EQ(data.warnings().size(), 1U);
    EXPECT_THAT(data.warnings()[0], HasSubstr("part2.bin"));
}

TEST_F(DatasetTest, ShuffledEpochsVisitTheSameSamplesInOrdersOfTheirOwn) {
    DataOptions options = make_files({301, 205, 100});
    options.order = DataOrder::shuffled;
    const Dataset data = open_dataset(options, DataSplit::train, 50257, 5, 3);
    EXPECT_EQ(data.samples(), 60 + 40 + 19);
    auto first = read_all(data, 0, 119), second = read_all(data, 119, 119);
    EXPECT_NE(first, second);
    EXPECT_NE(first, read_all(open_dataset(options, DataSplit::train, 50257, 5, 4), 0, 119));
    EXPECT_EQ(first, read_all(open_dataset(options, DataSplit::train, 50257, 5, 3), 0, 119));
    std::sort(first.begin(), first.end());
    EXPECT_EQ(std::adjacent_find(first.begin(), first.end()), first.end());
    std::sort(second.begin(), second.end());
    EXPECT_EQ(first, second);
}

RC_GTEST_FIXTURE_PROP(DatasetTest, AnyCutGivesTheSameSamples, (bool shuffled)) {
    const auto sizes =
        *rc::gen::nonEmpty(rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(1, 60)));
    const auto files = std::min<std::size_t>(sizes.size(), 7);  // the tokens of an eighth one would look like text
    RC_PRE(std::any_of(sizes.begin(), sizes.begin() + files, [](auto size) { return size > 8; }));
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directory(folder_.path());
    DataOptions options = make_files({sizes.begin(), sizes.begin() + files});
    if (shuffled) options.order = DataOrder::shuffled;
    const Dataset data = open_dataset(options, DataSplit::train, 50257, *rc::gen::inRange(1, 9), 5);
    const auto first = *rc::gen::inRange<std::int64_t>(0, 100);
    const auto cuts = *rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 20));
    std::vector<std::vector<std::int64_t>> pieces;
    std::int64_t next = first;
    for (const std::int64_t count : cuts) {
        const auto piece = read_all(data, next, count);
        pieces.insert(pieces.end(), piece.begin(), piece.end());
        next += count;
    }
    RC_ASSERT(pieces == read_all(data, first, next - first));
}

TEST_F(DatasetTest, ValidationFractionTakesTheTail) {
    DataOptions options = make_files({31, 41, 31});  // 3 + 4 + 3 samples
    options.validation_fraction = 0.3;
    options.order = DataOrder::shuffled;
    const Dataset train = open_dataset(options, DataSplit::train, 50257, 10, 1);
    const Dataset validation = open_dataset(options, DataSplit::validation, 50257, 10, 1);
    EXPECT_EQ(train.samples(), 7);
    EXPECT_EQ(validation.samples(), 3);
    std::vector<std::int64_t> firsts;
    for (const auto& sample : read_all(validation, 0, 4)) firsts.push_back(sample[0]);
    EXPECT_THAT(firsts, ElementsAre(2000, 2010, 2020, 2000));  // in sequence whatever the order of training
    firsts.clear();
    for (const auto& sample : read_all(train, 0, 7)) firsts.push_back(sample[0]);
    EXPECT_THAT(firsts, ::testing::UnorderedElementsAre(0, 10, 20, 1000, 1010, 1020, 1030));
}

TEST_F(DatasetTest, TinyValidationFractionKeepsOneSampleOnEachSide) {
    DataOptions options = make_files({21});
    for (const double fraction : {1e-9, 0.999}) {
        options.validation_fraction = fraction;
        EXPECT_EQ(open_dataset(options, DataSplit::train, 50257, 10, 1).samples(), 1);
        EXPECT_EQ(open_dataset(options, DataSplit::validation, 50257, 10, 1).samples(), 1);
    }
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 11, 1); },
                      {"data.train: ", "one sample of 12 tokens", "validation_fraction"});
}

TEST_F(DatasetTest, ValidationFilesAreReadInSequence) {
    DataOptions options = make_files({20, 41});
    options.validation = folder_ / "part1.bin";
    options.train = folder_ / "part0.bin";
    options.order = DataOrder::shuffled;
    const Dataset validation = open_dataset(options, DataSplit::validation, 50257, 10, 1);
    EXPECT_THAT(read_all(validation, 0, 4)[3][0], 1030);
    EXPECT_EQ(open_dataset(options, DataSplit::train, 50257, 10, 1).samples(), 1);
}

TEST_F(DatasetTest, DataShorterThanASequenceAreRefused) {
    DataOptions options = make_files({10, 8});
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); },
                      {"data.train: none of the 2 files has the 11 tokens"});
    options.train = folder_ / "part0.bin";
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); },
                      {"data.train: ", "part0.bin\" has 10 tokens, fewer than the 11 of one sample"});
    EXPECT_EQ(open_dataset(options, DataSplit::train, 50257, 9, 1).samples(), 1);
}

TEST_F(DatasetTest, MissingFilesAreNamedWithTheirKey) {
    DataOptions options;
    options.train = folder_ / "none.bin";
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); },
                      {"data.train: \"", "none.bin\" does not exist"});
    options.train = folder_ / "no*.bin";
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); },
                      {"data.train: no file matches", "no*.bin"});
    options.train = folder_.path();
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); }, {"is a directory", "*.bin"});
    folder_.write("empty.bin", "");
    options.train = folder_ / "empty.bin";
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); }, {"is empty"});
    options.tokenizer = Tokenizer::gpt2;
    options.tokenizer_file = folder_ / "vocabulary";
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); },
                      {"data.tokenizer_file: \"", "does not exist"});
}

TEST_F(DatasetTest, EmptyShardsBesideGoodOnesAreLeftOut) {
    const DataOptions options = make_files({20, 41});
    folder_.write("part2.bin", "");
    const Dataset dataset = open_dataset(options, DataSplit::train, 50257, 10, 1);
    EXPECT_EQ(dataset.samples(), 5);
    EXPECT_THAT(dataset.warnings(), ElementsAre(AllOf(HasSubstr("data.train: "), HasSubstr("part2.bin\" is empty"))));
    for (const char* name : {"part0.bin", "part1.bin"}) folder_.write(name, "");
    expect_data_error([&] { open_dataset(options, DataSplit::train, 50257, 10, 1); }, {"part0.bin\" is empty"});
}

TEST_F(DatasetTest, DoubtsAboutTheContentAreSaid) {
    DataOptions options;
    options.train = folder_.write("story.txt", "An old file: caf\xe9.");
    const Dataset dataset = open_dataset(options, DataSplit::train, 256, 12, 1);
    EXPECT_THAT(dataset.warnings(), ElementsAre(HasSubstr("data.train: \"")));
    options.train = folder_.write_tokens<std::uint32_t>("wide.bin", {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
    expect_data_error([&] { open_dataset(options, DataSplit::train, 256, 5, 1); },
                      {"data.train: \"", "wide.bin", "data.token_bytes = 4"});
    options.token_bytes = 4;
    EXPECT_EQ(read_all(open_dataset(options, DataSplit::train, 256, 5, 1), 0, 1)[0][0] % 5, 0);
}

TEST_F(DatasetTest, BytesInAVocabularyThatTheyDoNotFillAreSaid) {
    DataOptions options;
    options.train = folder_.write("story.txt", "Hello, world! This is a story.");
    EXPECT_THAT(open_dataset(options, DataSplit::train, 50257, 12, 1).warnings(),
                ElementsAre(AllOf(HasSubstr("only 256 occur"), HasSubstr("data.tokenizer = \"gpt2\""))));
    EXPECT_TRUE(open_dataset(options, DataSplit::train, 256, 12, 1).warnings().empty());
    EXPECT_TRUE(open_dataset(options, DataSplit::train, 320, 12, 1).warnings().empty());  // padded
    options.tokenizer = Tokenizer::gpt2;
    EXPECT_TRUE(open_dataset(options, DataSplit::train, 50257, 3, 1).warnings().empty());
}

TEST_F(DatasetTest, IsDescribedInALine) {
    const DataOptions options = make_files({20, 41});
    EXPECT_EQ(described(open_dataset(options, DataSplit::train, 50257, 10, 1), options, 20),
              "61 tokens in 2 files, nanogpt: 5 samples of 10 tokens; 20 are taken (4 epochs)");
    DataOptions text;
    text.train = folder_.write("story.txt", "Hello, world!");
    EXPECT_EQ(described(open_dataset(text, DataSplit::train, 256, 6, 1), text, 1),
              "13 tokens in 1 file, text by tokenizer bytes: 2 samples of 6 tokens; 1 are taken (0.5 epochs)");
}

TEST_F(DatasetTest, SamplesThatCountMoreOftenThanOthersAreSaid) {
    const Dataset dataset = open_dataset(make_files({31}), DataSplit::train, 50257, 10, 1);
    ASSERT_EQ(dataset.samples(), 3);
    for (const std::int64_t taken : {1, 3, 6, 300}) EXPECT_EQ(uneven_use(dataset, taken, "a test"), std::nullopt);
    EXPECT_THAT(
        uneven_use(dataset, 7, "an evaluation").value_or(""),
        HasSubstr("data.train: an evaluation takes 7 samples, but there are 3: some are taken 3 times and others 2"));
}

TEST_F(DatasetTest, TextIsTokenisedOnTheFly) {
    DataOptions options;
    options.train = folder_.write("story.txt", "Hello, world!");
    const Dataset bytes = open_dataset(options, DataSplit::train, 256, 12, 1);
    EXPECT_EQ(read_all(bytes, 0, 1)[0][0], 'H');
    EXPECT_EQ(read_all(bytes, 0, 1)[0].back(), '!');
    options.tokenizer = Tokenizer::gpt2;
    const Dataset gpt2 = open_dataset(options, DataSplit::train, 50257, 3, 1);
    EXPECT_THAT(read_all(gpt2, 0, 1)[0], ElementsAre(15496, 11, 995, 11, 995, 0));
}

TEST(MatchingFiles, AreInTheOrderOfTheirNames) {
    const ScratchFolder folder;
    for (const char* name : {"b.bin", "a.bin", "Z.bin", "a10.bin", "a9.bin", "m.bin", "m.idx", "other.txt"})
        folder.write(name, "x");
    std::filesystem::create_directory(folder / "dir.bin");
    const auto names = [&](const std::string& pattern) {
        std::vector<std::string> found;
        for (const auto& path : matching_files(folder / pattern)) found.push_back(path.filename());
        return found;
    };
    EXPECT_THAT(names("*.bin"), ElementsAre("Z.bin", "a.bin", "a10.bin", "a9.bin", "b.bin", "m.bin"));
    EXPECT_THAT(names("m.*"), ElementsAre("m.bin"));
    EXPECT_THAT(names("m.idx"), ElementsAre("m.bin"));
    EXPECT_THAT(names("missing.bin"), ElementsAre("missing.bin"));
    folder.write("[x].bin", "x");
    EXPECT_THAT(names("[x].bin"), ElementsAre("[x].bin"));
}

}  // namespace
}  // namespace smp::runtime
