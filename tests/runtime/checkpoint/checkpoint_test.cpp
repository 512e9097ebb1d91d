// A checkpoint is complete or not there, gives back every element whatever slice is asked for, and finds whatever was
// done to its files.
#include "runtime/checkpoint/checkpoint.h"

#include <fstream>
#include <iterator>
#include <numeric>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "runtime/checkpoint/checkpoint_folder.h"
#include "runtime/checkpoint/checkpoint_writer.h"
#include "runtime/checkpoint/configurations.h"
#include "runtime/checkpoint/state_hash.h"
#include "runtime/files/data_error.h"
#include "runtime/files/sum128.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;

/// Of element `e` of a tensor.
float value_of(StateKind kind, std::int64_t e) { return static_cast<float>(1000 * static_cast<int>(kind) + e); }

/// Two tensors of a model, cut over ranks: "matrix" [6, 10] by columns (2 parts each) or rows, "vector" [7] by ranges.
std::vector<Snapshot> snapshots(int ranks, bool by_columns, std::int64_t step) {
    std::vector<Snapshot> all(ranks);
    for (int rank = 0; rank < ranks; ++rank) {
        Snapshot& snapshot = all[rank];
        snapshot.manifest = {
            .state = {.steps = step, .updates = step, .samples = 8 * step, .tokens = 64 * step, .loss_scale = {}},
            .plan = "00",
            .configuration = "model.n_layer=2\n",
            .tensors = {{"matrix", {6, 10}}, {"vector", {7}}},
            .files = {}};
        const std::int64_t share = (5 + ranks - 1) / ranks, rows = (6 + ranks - 1) / ranks;
        const models::Slice columns{
            .outer = 6, .parts = 2, .extent = 5, .inner = 1, .begin = share * rank, .end = share * (rank + 1)};
        const models::Slice lines{
            .outer = 1, .parts = 1, .extent = 6, .inner = 10, .begin = rows * rank, .end = rows * (rank + 1)};
        const models::Slice vector = models::whole(7);
        const std::int64_t part = (7 + ranks - 1) / ranks;
        for (const StateKind kind : {StateKind::weight, StateKind::first_moment, StateKind::second_moment}) {
            const models::Slice& cut = by_columns ? columns : lines;
            // In two pieces, since buckets cut where they like.
            const std::int64_t elements = cut.local_numel();
            for (const Range range : {Range{0, elements / 3}, Range{elements / 3, elements}})
                snapshot.pieces.push_back(
                    {.name = "", .tensor = "matrix", .kind = kind, .slice = cut, .of_slice = range});
            snapshot.pieces.push_back(
                {.name = "",
                 .tensor = "vector",
                 .kind = kind,
                 .slice = vector,
                 .of_slice = {std::min<std::int64_t>(7, part * rank), std::min<std::int64_t>(7, part * (rank + 1))}});
        }
        std::erase_if(snapshot.pieces, [](const Piece& piece) { return runs_of(piece).empty(); });
        for (const Piece& piece : snapshot.pieces)
            for (const ShardRun& run : runs_of(piece))
                for (std::int64_t e = run.global; e < run.global + run.count; ++e)
                    snapshot.values.push_back(value_of(piece.kind, e));
    }
    return all;
}

/// How the save of each rank ended.
std::vector<std::string> save(const std::filesystem::path& folder, std::vector<Snapshot> snapshots,
                              std::int64_t keep = 3) {
    const int ranks = static_cast<int>(snapshots.size());
    std::vector<std::unique_ptr<CheckpointWriter>> writers;
    for (int rank = 0; rank < ranks; ++rank) {
        writers.push_back(
            std::make_unique<CheckpointWriter>(CheckpointWriter::Place{.folder = folder,
                                                                       .keep = keep,
                                                                       .rank = rank,
                                                                       .ranks = ranks,
                                                                       .run = "a",
                                                                       .timeout = std::chrono::minutes(1)}));
        writers.back()->begin(std::move(snapshots[rank]));
    }
    bool all_written = true;
    std::vector<std::string> ends;
    for (const auto& writer : writers) {
        ends.push_back(writer->join().value_or(""));
        all_written = all_written && ends.back().empty();
    }
    if (const auto commit = writers.front()->commit(all_written)) ends.front() = *commit;
    return ends;
}

std::string text_of(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

/// What is wrong with a checkpoint, in one text.
std::string faults_of(const std::filesystem::path& path) {
    try {
        std::string all;
        for (const std::string& fault : Checkpoint(path).faults()) all += fault + "\n";
        return all;
    } catch (const DataError& error) {
        return error.what();
    }
}

RC_GTEST_PROP(Checkpoints, GiveBackAnyElements, (bool by_columns)) {
    const ScratchFolder folder;
    const int ranks = *rc::gen::inRange(1, 6);
    RC_ASSERT(save(folder.path(), snapshots(ranks, by_columns, 5)) == std::vector<std::string>(ranks));
    Checkpoint checkpoint(checkpoint_path(folder.path(), 5));
    RC_ASSERT(checkpoint.faults().empty());
    RC_ASSERT(checkpoint.manifest().state.tokens == 320);
    for (const StateKind kind : {StateKind::weight, StateKind::first_moment, StateKind::second_moment}) {
        const auto first = *rc::gen::inRange(0, 60), end = *rc::gen::inRange(first, 61);
        std::vector<float> values(end - first);
        checkpoint.read("matrix", kind, first, values);
        for (int e = first; e < end; ++e) RC_ASSERT(values[e - first] == value_of(kind, e));
    }
}

TEST(Checkpoints, AreReadByWhateverReadsSafetensors) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(1, false, 5));
    const SafetensorsFile file(checkpoint_path(folder.path(), 5) / "rank_00000.safetensors");
    for (const SafetensorsEntry& entry : file.entries()) {
        if (entry.name != "vector.weight") continue;
        EXPECT_THAT(entry.shape, ElementsAre(7));
        return;
    }
    FAIL();
}

// One byte anywhere, or one file less, shorter, or exchanged for that of another rank or step.
TEST(Checkpoints, WhateverWasDoneToFilesIsFound) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(2, true, 5));
    save(folder.path(), snapshots(2, false, 6));
    const auto path = checkpoint_path(folder.path(), 5), other = checkpoint_path(folder.path(), 6);
    ASSERT_EQ(faults_of(path), "");
    int changes = 0;
    for (const char* name : {"manifest.json", "rank_00000.safetensors", "rank_00001.safetensors"}) {
        const std::string good = text_of(path / name);
        const auto expect_found = [&](const std::string& bytes, const std::string& what) {
            std::ofstream(path / name, std::ios::binary) << bytes;
            EXPECT_THAT(faults_of(path), HasSubstr(name)) << what;
            ++changes;
        };
        for (std::size_t at = 0; at < good.size(); at += 1 + good.size() / 400) {
            std::string bytes = good;
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
            expect_found(bytes, fmt::format("bit {} of byte {} of {}", at % 8, at, name));
        }
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 1})
            expect_found(good.substr(0, size), fmt::format("{} bytes of {}", size, name));
        expect_found(good + "x", "a byte more");
        if (std::string(name) != "manifest.json") expect_found(text_of(other / name), "another step's");
        std::filesystem::remove(path / name);
        EXPECT_THAT(faults_of(path), HasSubstr(name));
        std::ofstream(path / name, std::ios::binary) << good;
    }
    std::filesystem::rename(path / "rank_00000.safetensors", path / "x");
    std::filesystem::rename(path / "rank_00001.safetensors", path / "rank_00000.safetensors");
    std::filesystem::rename(path / "x", path / "rank_00001.safetensors");
    EXPECT_THAT(faults_of(path), HasSubstr("rank_00000.safetensors"));
    EXPECT_GT(changes, 900);
}

TEST(Checkpoints, AFaultIsMetWhereItIsReadAndNotBefore) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(2, false, 5));
    const auto path = checkpoint_path(folder.path(), 5);
    std::string bytes = text_of(path / "rank_00001.safetensors");
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    std::ofstream(path / "rank_00001.safetensors", std::ios::binary) << bytes;
    Checkpoint checkpoint(path);
    std::vector<float> values(30);
    checkpoint.read("matrix", StateKind::weight, 0, values);  // rank 0's rows
    EXPECT_EQ(values[29], value_of(StateKind::weight, 29));
    EXPECT_THROW(checkpoint.read("matrix", StateKind::weight, 30, values), DataError);
    EXPECT_THROW(checkpoint.read("matrix", StateKind::weight, 31, std::span(values)), DataError);
    EXPECT_THROW(checkpoint.read("tensor", StateKind::weight, 0, values), DataError);
}

/// A manifest's text, changed in one place, with the sum that it then has.
std::string changed(std::string text, const std::string& before, const std::string& now) {
    text.replace(text.find(before), before.size(), now);
    text.resize(text.rfind(",\n\t\"sum\""));
    return text + fmt::format(",\n\t\"sum\": \"{}\"\n}}\n", sum128(std::as_bytes(std::span(text))));
}

TEST(Checkpoints, HistoryIsKeptAndMayBeMissing) {
    Manifest manifest = snapshots(1, false, 5).front().manifest;
    manifest.history = {{.after = 0, .by = "training", .from = "", .layout = "2 ranks"},
                        {.after = 3, .by = "training", .from = "/a", .layout = "4 ranks", .changed = {"x: 2 -> 4"}}};
    const std::string text = to_json(manifest);
    EXPECT_EQ(parse_manifest(text, "m"), manifest);
    const auto begin = text.find("\t\"history\""), end = text.find("\t\"tensors\"");
    manifest.history.clear();
    EXPECT_EQ(parse_manifest(changed(text, text.substr(begin, end - begin), ""), "m"), manifest);
    EXPECT_THROW(parse_manifest(changed(text, "\"after\": 3", "\"after\": 6"), "m"), DataError);
    EXPECT_THROW(parse_manifest(changed(text, "\"x: 2 -> 4\"", "7"), "m"), DataError);
}

TEST(Checkpoints, AManifestOfTheFutureIsNamed) {
    const Manifest manifest = snapshots(1, false, 5).front().manifest;
    const std::string text = to_json(manifest);
    EXPECT_EQ(parse_manifest(text, "m"), manifest);
    try {
        parse_manifest(changed(text, "\"format\": 1", "\"format\": 7"), "m");
        FAIL();
    } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr("is of format 7, and this program reads format 1 only"));
    }
}

// What the pieces are does not matter, what is in them does; names and counters do not.
TEST(Checkpoints, EqualStatesHaveEqualHashes) {
    const ScratchFolder folder;
    std::set<std::string> hashes;
    int step = 0;
    for (const int ranks : {1, 2, 3, 5})
        for (const bool by_columns : {false, true}) {
            save(folder.path(), snapshots(ranks, by_columns, ++step));
            Checkpoint checkpoint(checkpoint_path(folder.path(), step));
            hashes.insert(state_hash(checkpoint));
        }
    ASSERT_EQ(hashes.size(), 1U);
    // As its definition says, by hand.
    std::vector<float> all;
    for (const StateKind kind : {StateKind::weight, StateKind::first_moment, StateKind::second_moment})
        for (const int elements : {60, 7})
            for (int e = 0; e < elements; ++e) all.push_back(value_of(kind, e));
    EXPECT_EQ(*hashes.begin(), sum128(std::as_bytes(std::span(all))));
    auto other = snapshots(1, false, ++step);
    other[0].values[3] += 1;
    save(folder.path(), std::move(other));
    Checkpoint checkpoint(checkpoint_path(folder.path(), step));
    EXPECT_NE(state_hash(checkpoint), *hashes.begin());
}

TEST(Checkpoints, APathNamesOneTheirFolderOrARun) {
    const ScratchFolder folder;
    for (const std::int64_t step : {5, 10}) save(folder / "run/checkpoints", snapshots(1, false, step));
    const auto newest = checkpoint_path(folder / "run/checkpoints", 10),
               older = checkpoint_path(folder / "run/checkpoints", 5);
    EXPECT_THAT(checkpoints_named(older), ElementsAre(older));
    EXPECT_THAT(checkpoints_named(folder / "run/checkpoints"), ElementsAre(newest, older));
    EXPECT_THAT(checkpoints_named(folder / "run"), ElementsAre(newest, older));
    EXPECT_THAT(checkpoints_named(folder / "none"), IsEmpty());
}

// The header is damaged, too, and what says so are the sums.
TEST(Checkpoints, AFileWithoutAHeaderIsNamedByItsBytes) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(1, false, 5));
    const auto path = checkpoint_path(folder.path(), 5);
    std::string bytes = text_of(path / "rank_00000.safetensors");
    bytes[0] = static_cast<char>(bytes[0] ^ 1);
    std::ofstream(path / "rank_00000.safetensors", std::ios::binary) << bytes;
    EXPECT_THAT(faults_of(path), HasSubstr(fmt::format("the sum of bytes 0 to {} does not hold", bytes.size() - 1)));
}

TEST(Checkpoints, OldOnesGoWhenANewerOneIsComplete) {
    const ScratchFolder folder;
    for (const std::int64_t step : {5, 10, 15, 20}) save(folder.path(), snapshots(1, false, step), /*keep=*/2);
    std::vector<std::int64_t> steps;
    for (const auto& found : checkpoints_in(folder.path())) steps.push_back(found.step);
    EXPECT_THAT(steps, ElementsAre(20, 15));
}

TEST(Checkpoints, AnotherOfTheSameStepReplacesTheFirst) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(3, false, 5));
    save(folder.path(), snapshots(1, true, 5));
    EXPECT_EQ(faults_of(checkpoint_path(folder.path(), 5)), "");
    EXPECT_EQ(Checkpoint(checkpoint_path(folder.path(), 5)).manifest().files.size(), 1U);
}

TEST(Checkpoints, WhatAKilledRunLeavesIsNone) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(1, false, 5));
    std::filesystem::create_directory(folder / "step_00000006.partial");
    folder.write("step_00000006.partial/rank_00000.safetensors", "half");
    std::filesystem::create_directory(folder / "mine.partial");
    // Killed between the two renames of a replacement.
    std::filesystem::rename(folder / "step_00000005", folder / "step_00000005.replaced");
    std::filesystem::create_directory(folder / "step_00000005.partial");
    EXPECT_THAT(checkpoints_in(folder.path()), IsEmpty());
    remove_partial_checkpoints(folder.path());
    ASSERT_EQ(checkpoints_in(folder.path()).size(), 1U);
    EXPECT_EQ(faults_of(checkpoint_path(folder.path(), 5)), "");
    EXPECT_TRUE(std::filesystem::exists(folder / "mine.partial"));
    EXPECT_FALSE(std::filesystem::exists(folder / "step_00000006.partial"));
}

TEST(Checkpoints, WhatCannotBeWrittenIsSaidAndLeavesNothing) {
    const ScratchFolder folder;
    save(folder.path(), snapshots(2, false, 5));
    const auto no_folder = folder.write("file", "");
    EXPECT_THAT(save(no_folder, snapshots(2, false, 6)), ::testing::Each(HasSubstr("file")));
    // One rank of two.
    std::filesystem::create_directories(folder / "step_00000006.partial/rank_00001.safetensors");
    const auto ends = save(folder.path(), snapshots(2, false, 6));
    EXPECT_THAT(ends[1], HasSubstr("is a directory"));
    EXPECT_FALSE(ends[0].empty());
    EXPECT_FALSE(std::filesystem::exists(folder / "step_00000006"));
    EXPECT_FALSE(std::filesystem::exists(folder / "step_00000006.partial"));
    EXPECT_EQ(faults_of(checkpoint_path(folder.path(), 5)), "");
}

// Nobody knows how long a disk takes; but what has been written and is not in sight will not come.
TEST(Checkpoints, ARankThatWritesIsWaitedForAndOneThatHasWrittenElsewhereIsNot) {
    const ScratchFolder here, elsewhere;
    auto two = snapshots(2, false, 5);
    const auto writer = [](const ScratchFolder& folder, int rank) {
        return std::make_unique<CheckpointWriter>(CheckpointWriter::Place{.folder = folder.path(),
                                                                          .keep = 1,
                                                                          .rank = rank,
                                                                          .ranks = 2,
                                                                          .run = "a",
                                                                          .timeout = std::chrono::milliseconds(1)});
    };
    const auto first = writer(here, 0), second = writer(elsewhere, 1);
    first->begin(std::move(two[0]));
    EXPECT_EQ(first->join(), std::nullopt);
    EXPECT_FALSE(first->wait_ended(std::chrono::milliseconds(200)));  // much longer than the limit
    second->begin(std::move(two[1]));
    EXPECT_EQ(second->join(), std::nullopt);
    EXPECT_THAT(first->commit(true).value_or(""),
                AllOf(HasSubstr("rank 1's part of the checkpoint was written, and is not in"),
                      HasSubstr("must be one folder for all nodes")));
    EXPECT_FALSE(first->is_committed());
    EXPECT_FALSE(std::filesystem::exists(here / "step_00000005.partial"));
}

TEST(Checkpoints, APartOfAnotherRunIsNotTaken) {
    const ScratchFolder folder;
    const PartialCheckpoint partial(folder.path(), 5);
    partial.create();
    const PartFile file{.name = "rank_00000.safetensors", .bytes = 0, .chunk_bytes = 1, .sums = {}, .pieces = {}};
    partial.announce(file, 0, "an earlier one");
    std::vector<PartFile> files;
    EXPECT_THROW(partial.collect(1, "this one", files), DataError);
    partial.announce(file, 0, "this one");
    EXPECT_TRUE(partial.collect(1, "this one", files));
    EXPECT_THAT(files, ElementsAre(file));
    EXPECT_FALSE(partial.collect(2, "this one", files));
}

TEST(Configurations, TheModelStaysAndTheRestMayChange) {
    const auto change = change_between(
        "data.tokenizer=\"bytes\"\nmodel.embd_pdrop=0.1\nmodel.n_head=4\nparallel.microbatches=2\ntraining.steps=10\n",
        "data.tokenizer=\"gpt2\"\nmodel.embd_pdrop=0\nmodel.n_head=2\nparallel.microbatches=4\ntraining.seed=1\n"
        "training.steps=10\n");
    EXPECT_THAT(change.refused, ElementsAre("data.tokenizer: \"bytes\" -> \"gpt2\"", "model.n_head: 4 -> 2"));
    EXPECT_THAT(change.allowed, ElementsAre("model.embd_pdrop: 0.1 -> 0", "parallel.microbatches: 2 -> 4"));
}

}  // namespace
}  // namespace smp::runtime
