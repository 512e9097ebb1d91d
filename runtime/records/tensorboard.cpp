#include "runtime/records/tensorboard.h"

#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <unistd.h>

#include <fmt/format.h>

#include "runtime/files/data_error.h"

namespace smp::runtime {

namespace {

consteval std::array<std::uint32_t, 256> castagnoli() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
        std::uint32_t sum = byte;
        for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0x82F63B78U : 0U);
        table[byte] = sum;
    }
    return table;
}

std::uint32_t masked_sum(std::string_view data) {
    static constexpr auto kTable = castagnoli();
    std::uint32_t sum = ~0U;
    for (const char c : data) sum = (sum >> 8) ^ kTable[(sum ^ static_cast<unsigned char>(c)) & 0xFF];
    return std::rotr(~sum, 15) + 0xA282EAD8U;
}

template <std::unsigned_integral Number>
std::string little_endian(Number number) {
    std::string bytes;
    for (std::size_t i = 0; i < sizeof number; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
    return bytes;
}

// Protocol buffers: a field is its number and the form of its value, then the value.
enum class Form : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

std::string varint(std::uint64_t number) {
    std::string bytes;
    for (; number >= 0x80; number >>= 7) bytes += static_cast<char>(number | 0x80);
    return bytes += static_cast<char>(number);
}
std::string tag(int field, Form form) {
    return varint(static_cast<std::uint64_t>(field) << 3 | static_cast<int>(form));
}
std::string field_of(int field, double value) {
    return tag(field, Form::fixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}
std::string field_of(int field, float value) {
    return tag(field, Form::fixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}
std::string field_of(int field, std::int64_t value) {
    return tag(field, Form::varint) + varint(static_cast<std::uint64_t>(value));
}
std::string field_of(int field, std::string_view value) {
    return tag(field, Form::bytes) + varint(value.size()) + std::string(value);
}

/// Event: wall_time = 1, step = 2, and one of file_version = 3, summary = 5, session_log = 7.
std::string event(std::int64_t step, int what, std::string_view value) {
    const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    return to_tf_record(field_of(1, now) + field_of(2, step) + field_of(what, value));
}

/// Summary: value = 1, each with tag = 1 and simple_value = 2.
std::string summary(const StepRecord& record) {
    std::string values;
    for (const StepColumn& column : step_columns()) {
        const auto value = value_of(column, record);
        if (!value || column.name == "step") continue;
        values += field_of(1, field_of(1, column.name) + field_of(2, static_cast<float>(*value)));
    }
    return values;
}

}  // namespace

std::string to_tf_record(std::string_view data) {
    const std::string length = little_endian(static_cast<std::uint64_t>(data.size()));
    return length + little_endian(masked_sum(length)) + std::string(data) + little_endian(masked_sum(data));
}

void TensorBoardFiles::started(const RunStart& run) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error)
        throw DataError(
            fmt::format("cannot create {}: {}; choose a writable --output directory, or set "
                        "logging.tensorboard = false",
                        folder_.string(), error.message()));
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::string name =
        fmt::format("events.out.tfevents.{:010}.{}.{}", std::chrono::duration_cast<std::chrono::seconds>(now).count(),
                    run.places.empty() ? "host" : run.places.at(static_cast<std::size_t>(run.rank)).host, ::getpid());
    file_.emplace(folder_ / name, LineFile::Start::go_on);
    constexpr std::int64_t kStart = 1;  // SessionLog: status = 1, START = 1
    file_->append(event(0, 3, "brain.Event:2"));
    if (run.steps_done > 0) file_->append(event(run.steps_done + 1, 7, field_of(1, kStart)));
}

void TensorBoardFiles::stepped(const StepRecord& record) { file_->append(event(record.step, 5, summary(record))); }

}  // namespace smp::runtime
