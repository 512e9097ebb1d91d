// If these fail, metrics.jsonl has another form, or lacks a number of the step.
#include "runtime/records/step_record.h"

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
    EXPECT_EQ(to_json_line(record), line + "}");
    record.validation_loss = 2.5;
    EXPECT_EQ(to_json_line(record), line + R"(,"validation_loss":2.5})");
    record.validation_loss = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(to_json_line(record), line + R"(,"validation_loss":null})");
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
