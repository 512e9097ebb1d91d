// If these fail, TensorBoard shows no curves or wrong ones. The reader here is independent of the writer: sums bit by
// bit, messages by their wire format.
#include "runtime/records/tensorboard.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/files/data_error.h"
#include "tests/runtime/files/scratch_folder.h"

namespace smp::runtime {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::StartsWith;

template <typename Number>
Number number_at(const std::string& bytes, std::size_t at) {
    Number number;
    std::memcpy(&number, bytes.substr(at, sizeof number).data(), sizeof number);
    return number;
}

std::uint32_t unmasked(std::uint32_t sum) {
    sum -= 0xA282EAD8U;
    return (sum << 15) | (sum >> 17);
}

/// CRC-32C, a bit at a time.
std::uint32_t castagnoli(const std::string& data) {
    std::uint32_t sum = 0xFFFFFFFFU;
    for (const char c : data) {
        sum ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; ++bit) sum = (sum & 1) != 0 ? (sum >> 1) ^ 0x82F63B78U : sum >> 1;
    }
    return sum ^ 0xFFFFFFFFU;
}

std::vector<std::string> records_of(const std::string& file) {
    std::vector<std::string> records;
    for (std::size_t at = 0; at < file.size();) {
        const auto length = number_at<std::uint64_t>(file, at);
        if (unmasked(number_at<std::uint32_t>(file, at + 8)) != castagnoli(file.substr(at, 8)))
            throw std::runtime_error("a length's sum does not hold");
        records.push_back(file.substr(at + 12, length));
        if (unmasked(number_at<std::uint32_t>(file, at + 12 + length)) != castagnoli(records.back()))
            throw std::runtime_error("a record's sum does not hold");
        at += 16 + length;
    }
    return records;
}

/// The fields of a message, in order: number and bytes, which of a varint are those of its value.
std::vector<std::pair<int, std::string>> fields_of(const std::string& message) {
    std::vector<std::pair<int, std::string>> fields;
    std::size_t at = 0;
    const auto varint = [&] {
        std::uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            const auto byte = static_cast<unsigned char>(message.at(at++));
            value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
    };
    while (at < message.size()) {
        const std::uint64_t tag = varint();
        std::size_t size = 0;
        switch (tag & 7) {
            case 0: {
                const std::uint64_t value = varint();
                fields.emplace_back(static_cast<int>(tag >> 3),
                                    std::string(reinterpret_cast<const char*>(&value), sizeof value));
                continue;
            }
            case 1: size = 8; break;
            case 2: size = varint(); break;
            case 5: size = 4; break;
            default: throw std::runtime_error("no such wire type");
        }
        fields.emplace_back(static_cast<int>(tag >> 3), message.substr(at, size));
        at += size;
    }
    return fields;
}

struct Event {
    double time = 0;
    std::int64_t step = 0;
    std::string version;
    std::map<std::string, float> scalars;
    bool starts = false;
};

Event event_of(const std::string& message) {
    Event event;
    for (const auto& [field, bytes] : fields_of(message)) {
        if (field == 1) event.time = number_at<double>(bytes, 0);
        if (field == 2) event.step = number_at<std::int64_t>(bytes, 0);
        if (field == 3) event.version = bytes;
        if (field == 5)
            for (const auto& [number, value] : fields_of(bytes)) {
                const auto parts = fields_of(value);
                event.scalars[parts.at(0).second] = number_at<float>(parts.at(1).second, 0);
            }
        if (field == 7) event.starts = number_at<std::int64_t>(fields_of(bytes).at(0).second, 0) == 1;
    }
    return event;
}

std::vector<Event> events_in(const fs::path& file) {
    std::vector<Event> events;
    for (const std::string& record : records_of(testing::content(file))) events.push_back(event_of(record));
    return events;
}

class TensorBoard : public ::testing::Test {
  protected:
    /// Steps `first` to `last` by a start of its own.
    void run(std::int64_t first, std::int64_t last) const {
        const Job job;
        const partition::Plan plan;
        const partition::ModuleGraph graph;
        TensorBoardFiles files(folder_ / "tensorboard");
        files.started({.job = job, .plan = plan, .graph = graph, .at = {}, .steps_done = first - 1});
        for (std::int64_t step = first; step <= last; ++step) {
            StepRecord record;
            record.step = step;
            record.loss = 0.5 * static_cast<double>(step);
            record.memory_bytes = 1 << 30;
            if (step == 2) record.validation_loss = 2.25;
            files.stepped(record);
        }
    }
    std::vector<fs::path> files() const {
        std::vector<fs::path> all;
        for (const auto& entry : fs::directory_iterator(folder_ / "tensorboard")) all.push_back(entry.path());
        return all;
    }
    testing::ScratchFolder folder_;
};

TEST_F(TensorBoard, AnIndependentReaderFindsEveryNumber) {
    run(1, 3);
    ASSERT_EQ(files().size(), 1U);
    EXPECT_THAT(files()[0].filename().string(), StartsWith("events.out.tfevents."));
    const auto events = events_in(files()[0]);
    ASSERT_EQ(events.size(), 4U);
    EXPECT_EQ(events[0].version, "brain.Event:2");
    for (std::size_t i = 1; i < events.size(); ++i) {
        EXPECT_EQ(events[i].step, static_cast<std::int64_t>(i));
        EXPECT_GE(events[i].time, events[i - 1].time);
        EXPECT_EQ(events[i].scalars.at("loss"), 0.5F * static_cast<float>(i));
        EXPECT_EQ(events[i].scalars.at("memory_bytes"), 1073741824.0F);
        EXPECT_EQ(events[i].scalars.count("mfu"), 0U);  // unknown
        EXPECT_EQ(events[i].scalars.count("validation_loss"), i == 2 ? 1U : 0U);
    }
}

TEST_F(TensorBoard, GoingOnBeginsAFileThatReplacesWhatIsDoneAgain) {
    run(1, 3);
    const auto first = files().front();
    fs::rename(first, folder_ / "tensorboard/earlier");  // seconds may be the same
    run(3, 4);
    for (const auto& file : files()) {
        if (file.filename() == "earlier") continue;
        const auto events = events_in(file);
        ASSERT_EQ(events.size(), 4U);
        EXPECT_TRUE(events[1].starts);
        EXPECT_EQ(events[1].step, 3);
        EXPECT_EQ(events[3].step, 4);
    }
    EXPECT_EQ(files().size(), 2U);
}

// The test value of RFC 3720, and the framing that TensorFlow's readers expect.
TEST(TfRecord, SumsAreTheStandardsOnes) {
    EXPECT_EQ(castagnoli(std::string(32, '\0')), 0x8A9136AAU);
    EXPECT_THAT(records_of(to_tf_record("123456789") + to_tf_record("")), ElementsAre("123456789", ""));
    const std::string record = to_tf_record("123456789");
    EXPECT_EQ(unmasked(number_at<std::uint32_t>(record, record.size() - 4)), 0xE3069283U);
}

TEST(TfRecord, AFolderThatCannotBeIsASentence) {
    const testing::ScratchFolder folder;
    const Job job;
    const partition::Plan plan;
    const partition::ModuleGraph graph;
    TensorBoardFiles files(folder.write("file", "") / "tensorboard");
    EXPECT_THAT([&] { files.started({.job = job, .plan = plan, .graph = graph, .at = {}}); },
                ::testing::ThrowsMessage<DataError>(::testing::HasSubstr("logging.tensorboard = false")));
}

}  // namespace
}  // namespace smp::runtime
