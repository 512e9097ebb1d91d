// If these fail, metrics.jsonl has another form, or lacks a number of the step.
#include "runtime/records/step_record.h"

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace smp::runtime {
namespace {

TEST(StepRecord, IsOneLineOfJson) {
    StepRecord record;
    record.step = 3;
    record.loss = 0.1;
    record.learning_rate = 6e-4;
    record.grad_norm = std::numeric_limits<double>::infinity();
    record.tokens = 960;
    record.skipped_updates = 1;
    record.seconds = 0.5;
    record.tokens_per_second = 640;
    record.memory_bytes = 1 << 20;
    record.predicted_memory_bytes = 1000;
    record.notice = "not part of it";
    const std::string line =
        R"({"step":3,"loss":0.1,"learning_rate":0.0006,"grad_norm":null,"tokens":960,"skipped_updates":1,"seconds":0.5,)"
        R"("tokens_per_second":640,"mfu":null,"memory_bytes":1048576,"predicted_seconds":null,)"
        R"("predicted_memory_bytes":1000)";
    const std::string rest =
        R"(,"wait_seconds":0,"exposed_communication_seconds":0,"data_seconds":0,"bubble":0,"slowest_rank":0,)"
        R"("slowest_rank_seconds":0,"straggler_rank":null,"resident_bytes":null,"node_memory_bytes":null,)"
        R"("cpu_utilization":null,"device_memory_bytes":null,"device_utilization":null,"device_power_watts":null,)"
        R"("device_temperature_celsius":null})";
    EXPECT_EQ(to_json_line(record), line + rest);
    record.validation_loss = 2.5;
    EXPECT_EQ(to_json_line(record), line + R"(,"validation_loss":2.5)" + rest);
    record.validation_loss = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(to_json_line(record), line + R"(,"validation_loss":null)" + rest);
}

TEST(StepRecord, SaysOfAllRanksTheLargestThatIsKnown) {
    StepRecord record;
    record.ranks.resize(3);
    record.ranks[0] = {.seconds = 1,
                       .wait_seconds = 0.75,
                       .exposed_seconds = 0.5,
                       .idle_seconds = 0.25,
                       .busy_seconds = 0.5,
                       .data_seconds = 0.125,
                       .tensor_bytes = 100,
                       .resident_bytes = 1000};
    record.ranks[1] = {.seconds = 1.5,
                       .wait_seconds = 0.5,
                       .exposed_seconds = 0.25,
                       .idle_seconds = 0.5,
                       .busy_seconds = 1,
                       .tensor_bytes = 300,
                       .device_power_watts = 70.5};
    record.ranks[2] = {.seconds = 2, .wait_seconds = 1.5, .busy_seconds = 1.5, .tensor_bytes = 200};
    sum_up_ranks(record);
    EXPECT_EQ(record.memory_bytes, 300);
    EXPECT_EQ(record.wait_seconds, 1.5);
    EXPECT_EQ(record.exposed_communication_seconds, 0.5);
    EXPECT_EQ(record.data_seconds, 0.125);
    EXPECT_EQ(record.bubble, 0.25);
    EXPECT_EQ(record.slowest_rank, 1);
    EXPECT_EQ(record.slowest_rank_seconds, 1);
    EXPECT_EQ(record.resident_bytes, 1000);
    EXPECT_EQ(record.device_power_watts, 70.5);
    EXPECT_EQ(record.node_memory_bytes, std::nullopt);
    EXPECT_EQ(record.device_utilization, std::nullopt);
    // One rank that does not know what it waited for may have waited longest.
    record.ranks[0].wait_seconds = record.ranks[0].exposed_seconds = RankStep::kUnknown;
    record.ranks[0].idle_seconds = record.ranks[0].busy_seconds = RankStep::kUnknown;
    sum_up_ranks(record);
    for (const double unknown :
         {record.wait_seconds, record.exposed_communication_seconds, record.bubble, record.slowest_rank_seconds})
        EXPECT_TRUE(std::isnan(unknown));
    EXPECT_EQ(record.data_seconds, 0.125);
}

TEST(StepRecord, MeasurementsAreNoPartOfWhatRunsHaveInCommon) {
    StepRecord record;
    for (const StepColumn& column : step_columns()) std::visit([&](auto member) { record.*member = 1; }, column.member);
    std::set<std::string> same;
    for (const StepColumn& column : step_columns())
        if (value_of(column, without_measurements(record)) == 1.0) same.emplace(column.name);
    EXPECT_EQ(same, (std::set<std::string>{"step", "loss", "learning_rate", "grad_norm", "tokens", "skipped_updates",
                                           "loss_scale", "validation_loss"}));
}

// Other recorders go by the columns too.
TEST(StepRecord, EveryColumnIsAMemberOfItsOwn) {
    StepRecord record;
    std::set<std::string> names;
    double next = 1;
    for (const StepColumn& column : step_columns()) {
        EXPECT_TRUE(names.emplace(column.name).second) << column.name << " stands twice";
        std::visit([&](auto member) { record.*member = static_cast<std::int64_t>(next++); }, column.member);
    }
    const auto object = nlohmann::json::parse(to_json_line(record));
    ASSERT_EQ(object.size(), step_columns().size());
    double expected = 1;
    for (const StepColumn& column : step_columns()) EXPECT_EQ(object[std::string(column.name)], expected++);
}

}  // namespace
}  // namespace smp::runtime
