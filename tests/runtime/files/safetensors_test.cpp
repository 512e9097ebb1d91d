#include "runtime/files/safetensors.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "runtime/files/data_error.h"
#include "tests/runtime/files/data_error_matchers.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

using testing::content;
using ::testing::ElementsAre;
using testing::expect_data_error;
using testing::golden;
using testing::ScratchFolder;

template <class T>
std::span<const std::byte> bytes_in(const std::vector<T>& values) {
    return std::as_bytes(std::span(values));
}

/// A file with this header and so many zero bytes behind it.
std::filesystem::path write_file(const ScratchFolder& folder, const std::string& header, std::size_t data) {
    const std::uint64_t length = header.size();
    std::string bytes(reinterpret_cast<const char*>(&length), 8);
    return folder.write("x.safetensors", bytes + header + std::string(data, '\0'));
}

TEST(Safetensors, ReadsWhatHuggingFaceWrote) {
    const Weights weights = open_weights(golden("tiny/model.safetensors"));
    const SafetensorsEntry* const bias = weights.find("transformer.h.0.attn.c_attn.bias");
    ASSERT_NE(bias, nullptr);
    EXPECT_EQ(bias->dtype, SafetensorsType::F32);
    EXPECT_THAT(bias->shape, ElementsAre(192));
    EXPECT_EQ(bias->elements(), 192);
    // The first tensor of the file: its bytes follow the header.
    const std::string file = content(golden("tiny/model.safetensors"));
    std::uint64_t header = 0;
    std::memcpy(&header, file.data(), 8);
    EXPECT_EQ(std::memcmp(bias->bytes.data(), file.data() + 8 + header, 768), 0);
    EXPECT_EQ(weights.find("lm_head.weight"), nullptr);
    EXPECT_NE(open_weights(golden("untied/model.safetensors")).find("lm_head.weight"), nullptr);
    EXPECT_EQ(SafetensorsFile(golden("tiny/model.safetensors")).metadata().at("format"), "pt");
}

TEST(Safetensors, WrittenTensorsComeBackAligned) {
    const ScratchFolder folder;
    const std::vector<double> doubles{1.5, -2.25};
    const std::vector<float> floats{1, 2, 3, 4, 5, 6};
    const std::vector<std::uint8_t> odd{1, 2, 3};
    const std::vector<SafetensorsEntry> tensors{
        {.name = "b", .dtype = SafetensorsType::U8, .shape = {3}, .bytes = bytes_in(odd)},
        {.name = "z", .dtype = SafetensorsType::F32, .shape = {2, 3}, .bytes = bytes_in(floats)},
        {.name = "a \"quoted\" ünïcode",
         .dtype = SafetensorsType::F32,
         .shape = {},
         .bytes = bytes_in(floats).first(4)},
        {.name = "none", .dtype = SafetensorsType::I64, .shape = {4, 0}, .bytes = {}},
        {.name = "d", .dtype = SafetensorsType::F64, .shape = {2}, .bytes = bytes_in(doubles)},
    };
    write_safetensors(folder / "x.safetensors", tensors, {{"format", "pt"}, {"step", "12"}});
    const SafetensorsFile file(folder / "x.safetensors");
    EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}}));
    ASSERT_EQ(file.entries().size(), tensors.size());
    const Weights weights = open_weights(folder / "x.safetensors");
    for (const SafetensorsEntry& tensor : tensors) {
        const SafetensorsEntry* const entry = weights.find(tensor.name);
        ASSERT_NE(entry, nullptr) << tensor.name;
        EXPECT_EQ(entry->dtype, tensor.dtype);
        EXPECT_EQ(entry->shape, tensor.shape);
        ASSERT_EQ(entry->bytes.size(), tensor.bytes.size());
        EXPECT_TRUE(std::equal(entry->bytes.begin(), entry->bytes.end(), tensor.bytes.begin()));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(entry->bytes.data()) % bytes_of(entry->dtype), 0U) << tensor.name;
    }
    // Nothing is left beside it.
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Safetensors, ReplacesAFileInOneStep) {
    const ScratchFolder folder;
    const std::vector<float> old_values{1}, new_values{2};
    write_safetensors(folder / "x.safetensors",
                      std::vector<SafetensorsEntry>{{.name = "v", .shape = {1}, .bytes = bytes_in(old_values)}});
    const Weights before = open_weights(folder / "x.safetensors");
    write_safetensors(folder / "x.safetensors",
                      std::vector<SafetensorsEntry>{{.name = "v", .shape = {1}, .bytes = bytes_in(new_values)}});
    float value = 0;
    before.read_float(*before.find("v"), 0, {&value, 1});
    EXPECT_EQ(value, 1);  // still the old file
    const Weights after = open_weights(folder / "x.safetensors");
    after.read_float(*after.find("v"), 0, {&value, 1});
    EXPECT_EQ(value, 2);
}

TEST(Safetensors, WritingIntoAMissingFolderIsASentence) {
    const ScratchFolder folder;
    expect_data_error([&] { write_safetensors(folder / "none/x.safetensors", {}); },
                      {"none/x.safetensors", "No such file", "create its folder first"});
}

TEST(Safetensors, ReadsFloatsOfAnyWidth) {
    const ScratchFolder folder;
    const std::vector<std::uint16_t> half{0x3c00, 0xc000, 0x0001, 0x8000, 0x7bff, 0x7c00, 0x3555};
    const std::vector<std::uint16_t> brain{0x3f80, 0xc000, 0x7f80};
    const std::vector<double> doubles{0.1, -3};
    const std::vector<std::int32_t> integers{1};
    write_safetensors(folder / "x.safetensors",
                      std::vector<SafetensorsEntry>{
                          {.name = "half", .dtype = SafetensorsType::F16, .shape = {7}, .bytes = bytes_in(half)},
                          {.name = "brain", .dtype = SafetensorsType::BF16, .shape = {3}, .bytes = bytes_in(brain)},
                          {.name = "double", .dtype = SafetensorsType::F64, .shape = {2}, .bytes = bytes_in(doubles)},
                          {.name = "int", .dtype = SafetensorsType::I32, .shape = {1}, .bytes = bytes_in(integers)}});
    const Weights weights = open_weights(folder / "x.safetensors");
    const auto read = [&](const char* name, std::int64_t first, std::size_t count) {
        std::vector<float> values(count);
        weights.read_float(*weights.find(name), first, values);
        return values;
    };
    EXPECT_THAT(read("half", 0, 7), ElementsAre(1.0F, -2.0F, 0x1p-24F, -0.0F, 65504.0F, INFINITY, 0.333251953125F));
    EXPECT_TRUE(std::signbit(read("half", 3, 1)[0]));
    EXPECT_THAT(read("half", 1, 2), ElementsAre(-2.0F, 0x1p-24F));
    EXPECT_THAT(read("brain", 0, 3), ElementsAre(1.0F, -2.0F, INFINITY));
    EXPECT_THAT(read("double", 0, 2), ElementsAre(0.1F, -3.0F));
    expect_data_error([&] { read("int", 0, 1); }, {"tensor \"int\" has dtype I32", "F32, F16, BF16 or F64"});
    EXPECT_THROW(read("half", 5, 3), std::logic_error);
}

TEST(Safetensors, OpensDirectoriesAsHuggingFaceMakesThem) {
    const ScratchFolder folder;
    const std::vector<float> one{1}, two{2};
    write_safetensors(folder / "model-00001-of-00002.safetensors",
                      std::vector<SafetensorsEntry>{{.name = "a", .shape = {1}, .bytes = bytes_in(one)}});
    write_safetensors(folder / "model-00002-of-00002.safetensors",
                      std::vector<SafetensorsEntry>{{.name = "b", .shape = {1}, .bytes = bytes_in(two)}});
    const auto index = [&](const std::string& map) {
        folder.write("model.safetensors.index.json", "{\"metadata\": {}, \"weight_map\": {" + map + "}}");
    };
    expect_data_error([&] { open_weights(folder.path()); },
                      {"holds neither model.safetensors nor model.safetensors.index.json"});

    index(R"("a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors")");
    EXPECT_EQ(open_weights(folder.path()).entries().size(), 2U);
    index(R"("a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors")");
    expect_data_error([&] { open_weights(folder.path()); },
                      {"promises tensor \"c\" in \"model-00002-of-00002.safetensors\""});
    index(R"("a": "model-00003-of-00003.safetensors")");
    expect_data_error([&] { open_weights(folder.path()); }, {"model-00003-of-00003.safetensors\" does not exist"});
    index(R"("a": "../secret.safetensors")");
    expect_data_error([&] { open_weights(folder.path()); }, {"no name of a file beside it"});
    folder.write("model.safetensors.index.json", "{\"weight_map\": 3}");
    expect_data_error([&] { open_weights(folder.path()); }, {"no object \"weight_map\""});
    folder.write("model.safetensors.index.json", "{oops");
    expect_data_error([&] { open_weights(folder.path()); }, {"is no JSON, from byte 1 on"});

    // One file wins over an index.
    write_safetensors(folder / "model.safetensors",
                      std::vector<SafetensorsEntry>{{.name = "a", .shape = {1}, .bytes = bytes_in(one)}});
    EXPECT_EQ(open_weights(folder.path()).entries().size(), 1U);
    expect_data_error([&] { open_weights(folder / "none"); }, {"none\" does not exist"});
}

TEST(Safetensors, RefusesWhatDoesNotAddUp) {
    const ScratchFolder folder;
    const auto refused = [&](const std::string& header, std::size_t data, const std::vector<std::string>& parts) {
        SCOPED_TRACE(header);
        expect_data_error([&] { SafetensorsFile(write_file(folder, header, data)); }, parts);
    };
    EXPECT_EQ(SafetensorsFile(write_file(folder, "{}", 0)).entries().size(), 0U);
    EXPECT_EQ(SafetensorsFile(write_file(folder, R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )", 8))
                  .entries()
                  .size(),
              1U);
    refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7,
            {"is truncated", "tensor \"a\" ends at byte 70"});
    refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9,
            {"1 bytes behind its last tensor", "byte 70"});
    refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12,
            {"tensor \"a\" begins at byte 4", "ends at 0"});
    refused(
        R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
        3, {"tensor \"b\" begins at byte 1", "ends at 2"});
    refused(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
            {"tensor \"a\" has 8 bytes", "shape [3] takes 12"});
    refused(R"({"a":{"dtype":31,"shape":[2],"data_offsets":[0,8]}})", 8, {"dtype 31, which is no name"});
    refused(R"({"a":{"dtype":"F32","shape":[[[[[[[[[[2]]]]]]]]]],"data_offsets":[0,8]}})", 8, {"nests more than"});
    refused(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, {"shape [-2]"});
    refused(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, {"shape 2"});
    refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, {"data_offsets [8,0]"});
    refused(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, {"shape [2.0]"});
    refused(R"({"a":{"dtype":"F32","shape":[2]}})", 8, {"not just dtype, shape and data_offsets"});
    refused(R"({"a":7})", 8, {"is described by 7"});
    // Products beyond 64 bits, that come out as 8 when they wrap around.
    refused(R"({"a":{"dtype":"U8","shape":[4294967296,4294967297,8],"data_offsets":[0,8]}})", 8,
            {"more than a file can hold"});
    refused(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8, {"no list of sizes"});
    refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}})", 8,
            {"begins at byte 18446744073709551614"});
    refused(
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        1, {"\"a\" twice"});
    refused(R"({"__metadata__":{"a":1}})", 0, {"__metadata__"});
    refused(R"({"__metadata__":7})", 0, {"__metadata__"});
    refused("[]", 0, {"no JSON object"});
    refused("{\"a\":", 0, {"is no JSON, from byte 13 on"});
    refused("", 0, {"is no JSON"});
    expect_data_error([&] { SafetensorsFile(folder.write("x", "1234567")); }, {"7 bytes long, too short"});
    expect_data_error([&] { SafetensorsFile(folder.write("x", std::string("\x20\0\0\0\0\0\0\0{}", 10))); },
                      {"its header alone takes 40"});
    expect_data_error([&] { SafetensorsFile(folder.write("x", "PK\3\4 a PyTorch file")); },
                      {"where a safetensors file is needed", "save_pretrained", "PyTorch"});
}

TEST(Safetensors, OnlyTensorsThatAreReadHaveToBeReadable) {
    const ScratchFolder folder;
    const auto path = write_file(folder,
                                 R"({"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]},)"
                                 R"("b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                                 16);
    const Weights weights = open_weights(path);
    std::vector<float> values(2, 7.0F);
    weights.read_float(*weights.find("b"), 0, values);
    EXPECT_THAT(values, ElementsAre(0, 0));
    EXPECT_EQ(weights.find("a")->elements(), 16);
    expect_data_error([&] { weights.read_float(*weights.find("a"), 0, values); }, {"tensor \"a\" has dtype F4"});
}

// Quadratic reading takes minutes for this; the test's time limit would end it.
TEST(Safetensors, ManyTensorsTakeNoLongerEachThanFew) {
    const ScratchFolder folder;
    const std::vector<float> value(1);
    std::vector<SafetensorsEntry> tensors;
    for (int i = 0; i < 200'000; ++i)
        tensors.push_back({.name = fmt::format("layer.{}", i), .shape = {1}, .bytes = bytes_in(value)});
    write_safetensors(folder / "many.safetensors", tensors);
    const Weights weights = open_weights(folder / "many.safetensors");
    EXPECT_EQ(weights.entries().size(), tensors.size());
    EXPECT_NE(weights.find("layer.199999"), nullptr);
}

// Any damage to a file is either refused by a sentence or leaves entries inside the file.
RC_GTEST_PROP(Safetensors, DamageNeverReachesOutsideTheFile, ()) {
    static const std::string whole = [] {
        const ScratchFolder folder;
        const std::vector<float> values(64);
        write_safetensors(folder / "x", std::vector<SafetensorsEntry>{
                                            {.name = "one", .shape = {4, 8}, .bytes = bytes_in(values).first(128)},
                                            {.name = "two", .shape = {32}, .bytes = bytes_in(values).first(128)}});
        return content(folder / "x");
    }();
    const ScratchFolder folder;
    std::string bytes = whole;
    for (int flips = *rc::gen::inRange(1, 4); flips > 0; --flips)
        bytes[*rc::gen::inRange<std::size_t>(0, bytes.size() - 256)] = *rc::gen::arbitrary<char>();
    bytes.resize(*rc::gen::inRange<std::size_t>(0, bytes.size() + 8));
    folder.write("y", bytes);
    try {
        const SafetensorsFile file(folder / "y");
        std::size_t size = 0;
        int touched = 0;  // every byte, so that a sanitizer or the kernel would see one outside
        for (const SafetensorsEntry& entry : file.entries()) {
            size += entry.bytes.size();
            for (const std::byte byte : entry.bytes) touched |= std::to_integer<int>(byte);
        }
        RC_ASSERT(touched <= 0xff && size < bytes.size());
    } catch (const DataError& error) {
        RC_ASSERT(std::string_view(error.what()).ends_with("."));
    }
}

TEST(Safetensors, TensorsInPartsMakeTheSameFile) {
    const ScratchFolder folder;
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    const std::vector<std::uint16_t> small = {7};
    write_safetensors(folder / "whole",
                      std::vector<SafetensorsEntry>{
                          {.name = "b", .dtype = SafetensorsType::F32, .shape = {2, 3}, .bytes = bytes_in(values)},
                          {.name = "a", .dtype = SafetensorsType::U16, .shape = {1}, .bytes = bytes_in(small)}});
    std::vector<SafetensorsSource> sources = {
        {.name = "a",
         .dtype = SafetensorsType::U16,
         .shape = {1},
         .bytes = [&](const TakeBytes& take) { take(bytes_in(small)); }},
        {.name = "b", .dtype = SafetensorsType::F32, .shape = {2, 3}, .bytes = [&](const TakeBytes& take) {
             for (const float value : values) take(std::as_bytes(std::span(&value, 1)));
         }}};
    std::string seen;
    stream_safetensors(folder / "parts", sources, {}, [&](std::span<const std::byte> bytes) {
        seen.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
    EXPECT_EQ(content(folder / "parts"), content(folder / "whole"));
    EXPECT_EQ(seen, content(folder / "whole"));
    // A source that fails or is too short leaves what was there.
    sources[0].bytes = [](const TakeBytes&) { throw DataError("gone"); };
    EXPECT_THROW(stream_safetensors(folder / "parts", sources), DataError);
    sources[0].bytes = [](const TakeBytes&) {};
    EXPECT_THROW(stream_safetensors(folder / "parts", sources), std::logic_error);
    EXPECT_EQ(content(folder / "parts"), content(folder / "whole"));
}

}  // namespace
}  // namespace smp::runtime
