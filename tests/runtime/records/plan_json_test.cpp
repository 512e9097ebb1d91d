// plan.json, written and read back. If these fail, a saved plan is another one than was executed, or a damaged file
// passes for a plan.
#include "runtime/records/plan_json.h"

#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "partition/check/checker.h"
#include "runtime/files/data_error.h"
#include "tests/partition/every_value.h"
#include "tests/partition/small_jobs.h"

namespace smp::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
namespace small = partition::testing;

SavedPlan read(const std::string& text) {
    std::istringstream stream(text);
    return plan_from_json(stream, "a.json");
}

SavedPlan saved(const small::Job& job) {
    return {.plan = small::plan_of(job), .graph = small::chain(job.stages * job.chunks_per_stage + 1, job.tied)};
}

std::string text_of(const SavedPlan& saved) { return plan_to_json(saved.plan, saved.graph); }

const small::Job kJob{.stages = 2, .microbatches = 2, .tied = true};

SavedPlan any_plan() {
    const auto draw = [](int first, int last) { return *rc::gen::inRange(first, last + 1); };
    partition::ParallelOptions options;
    options.pipeline_parallel_degree = draw(1, 4);
    options.tensor_parallel_degree = draw(1, 2);
    options.microbatches = draw(1, 8);
    options.pipeline = static_cast<partition::PipelineSchedule>(draw(0, 2));
    if (options.pipeline == partition::PipelineSchedule::interleaved) options.virtual_pipeline_degree = draw(1, 3);
    const std::string checkpointing[] = {"none", "each", "contiguous", "group_2"};
    options.activation_checkpointing = checkpointing[draw(0, 3)];
    options.offload_activations = draw(0, 1) == 1;
    options.shard_optimizer_state = draw(0, 1) == 1;
    const std::string placements[] = {"cluster", "spread", "PTD"};
    options.placement_strategy = placements[draw(0, 2)];
    SavedPlan any;
    any.graph = small::chain(12 + draw(0, 3), draw(0, 1) == 1);
    any.graph.precision = static_cast<partition::Precision>(draw(0, 2));
    any.plan = partition::make_plan(
        any.graph, options,
        {.pp = options.pipeline_parallel_degree, .tp = options.tensor_parallel_degree, .rdp = draw(1, 3)}, draw(1, 4));
    return any;
}

RC_GTEST_PROP(PlanJson, AnyPlanComesBack, ()) {
    const SavedPlan any = any_plan();
    const std::string text = text_of(any);
    const SavedPlan back = read(text);
    RC_ASSERT(back == any);
    RC_ASSERT(partition::hash_of(back.plan) == partition::hash_of(any.plan));
    RC_ASSERT(text_of(back) == text);
    RC_ASSERT(partition::check(back.plan, back.graph).empty());
    // To other readers it is JSON too.
    RC_ASSERT(read(nlohmann::json::parse(text).dump()) == any);
}

// Nonsense as well: the reader proves nothing.
TEST(PlanJson, EveryChangedValueComesBack) {
    SavedPlan changed = saved({.stages = 2, .microbatches = 1, .tied = true});
    const auto change_each = [&](auto& whole) {
        partition::testing::for_each_value(whole, [&](const std::string& path, auto& value) {
            const auto before = value;
            partition::testing::change(value);
            EXPECT_EQ(read(text_of(changed)), changed) << path;
            value = before;
        });
    };
    change_each(changed.plan);
    change_each(changed.graph);
}

TEST(PlanJson, NamesOfModulesMayBeAnything) {
    SavedPlan plan = saved(kJob);
    plan.graph.modules[0].name = "\"\\\n\t\x01 ä 模";
    plan.graph.modules[1].forward_flops = 1.0 / 3;
    plan.graph.modules[2].forward_flops = 6.02e23;
    EXPECT_EQ(read(text_of(plan)), plan);
}

TEST(PlanJson, IsALineForEachBufferAndAction) {
    const std::string text = text_of(saved(kJob));
    for (const char* line :
         {"{\n \"version\": 2,\n \"hash\": \"",
          "\n \"topology\": {\"degrees\": {\"pipeline\": 2, \"tensor\": 1, \"reduced_data\": 1}, \"order\": [\"data\", "
          "\"pipeline\", \"tensor\"]},\n",
          "\n \"chunks\": [\n  {\"stage\": 0, \"first_module\": 0, \"end_module\": ",
          "\n \"schedule\": \"interleaved\",\n", "\n \"training\": [\n  {\n   \"buffers\": [\n    {\"kind\": \"",
          "\n    {\"kind\": \"F\", \"microbatch\": 0, \"chunk\": 0, ", "\n  \"modules\": [\n   {\"name\": \"wte\", "})
        EXPECT_THAT(text, HasSubstr(line));
    EXPECT_THAT(text, ::testing::EndsWith("\n}\n"));
}

/// A text with one place changed, and its hash mended where that is what is wrong.
std::string with(std::string text, const std::string& from, const std::string& to, bool mended = false) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at == std::string::npos) return text;
    text.replace(at, from.size(), to);
    if (!mended) return text;
    try {
        read(text);
    } catch (const DataError& error) {
        const std::string what = error.what(), mark = "the hash of the plan is ";
        if (const auto found = what.find(mark); found != std::string::npos) {
            const std::string hash = what.substr(found + mark.size(), 16);
            return text.replace(text.find("\"hash\": \"") + 9, 16, hash);
        }
    }
    return text;
}

std::string refusal(const std::string& text) {
    try {
        read(text);
    } catch (const DataError& error) {
        return error.what();
    }
    return "none";
}

TEST(PlanJson, HoldsTheLifetimeOfEachBuffer) {
    const SavedPlan plan = saved(kJob);
    const auto json = nlohmann::json::parse(text_of(plan));
    const auto& program = json["training"][0];
    int lives = 0;
    for (std::size_t b = 0; b < program["buffers"].size(); ++b) {
        const auto& buffer = program["buffers"][b];
        // Scratch is used by one action after another, and is nobody's between them.
        const bool outlives = buffer["kind"] == "gradients" || buffer["kind"] == "parameters" ||
                              buffer["kind"] == "scratch" || buffer["kind"] == "reduction_scratch";
        EXPECT_NE(buffer.contains("lifetime"), outlives) << buffer;
        if (outlives) continue;
        const auto uses = [&](std::size_t action, const char* list) {
            const auto& all = program["actions"][action];
            return all.contains(list) && std::count(all[list].begin(), all[list].end(), b) > 0;
        };
        const std::size_t first = buffer["lifetime"][0], last = buffer["lifetime"][1];
        EXPECT_TRUE(uses(first, "writes")) << buffer;
        EXPECT_TRUE(uses(last, "frees") || uses(last, "consumes")) << buffer;
        ++lives;
    }
    EXPECT_GT(lives, 4);
    const std::string text = text_of(plan), lifetime = "\"lifetime\": [";
    EXPECT_THAT(refusal(with(text, lifetime, lifetime + "1")), HasSubstr("its actions make it ["));
    // Left out it is not asked for: it says nothing that the actions do not.
    const auto begin = text.find(", " + lifetime);
    EXPECT_EQ(read(with(text, text.substr(begin, text.find(']', begin) + 1 - begin), "")), plan);
}

TEST(PlanJson, RefusalsSayWhereAndWhatIsAllowed) {
    const std::string text = text_of(saved(kJob));
    const auto expect = [&](const std::string& from, const std::string& to, const std::string& place,
                            const std::string& why) {
        const std::string message = refusal(with(text, from, to));
        EXPECT_THAT(message, AllOf(StartsWith("a.json: " + place), HasSubstr(why))) << to;
        EXPECT_LT(message.size(), 600U) << message;
    };
    expect("\"microbatches\": 2", "\"microbatches\": 3", "the hash of the plan is", "changed after it was written");
    expect("\"is_layer\": true, ", "", "the hash of the model is", "changed after it was written");
    expect("\"microbatches\": 2", "\"microbatches\": \"2\"", "microbatches = \"2\": must be", "a whole number from");
    expect("\"microbatches\": 2", "\"microbatches\": 2.5", "microbatches = 2.5: must be", "a whole number");
    expect("\"microbatches\": 2", "\"microbatches\": 3000000000", "microbatches = 3000000000: must be", "2147483647");
    expect("\"microbatches\": 2", "\"microbatches\": 99999999999999999999", "microbatches = 9999", "a whole number");
    expect("\"microbatches\": 2", "\"microbatches\": 1e999", "byte ", "not JSON");
    expect("\"microbatches\": 2", "\"microbatches\": null", "microbatches = null: must be", "a whole number");
    expect("\"microbatches\": 2", "\"microbatches\": [2]", "microbatches = a list: must be", "a whole number");
    expect("\"microbatches\": 2", "\"microbatches\": {\"n\": 2}", "microbatches = an object: must be", "");
    expect("\"microbatches\": 2", "\"micro\": 2", "has \"micro\", which is unknown here", "active_microbatches");
    expect("\"microbatches\": 2,", "", "has no \"microbatches\"", "");
    expect("\"microbatches\": 2", "\"microbatches\": 2, \"microbatches\": 2", "microbatches stands there twice", "");
    expect("\"interleaved\"", "\"gpipe\"", "schedule = \"gpipe\": must be", "one of simple, interleaved, zero_bubble");
    expect("\"version\": 2", "\"version\": 3", "version = 3: must be 2", "a newer smp");
    expect("\"version\": 2", "\"version\": 1", "version = 1: must be 2", "make the plan again");
    expect("\"hash\": \"", "\"hash\": \"x", "hash = \"x", "16 hexadecimal digits");
    expect("[\"data\", \"pipeline\", \"tensor\"]", "[\"data\", \"pipeline\"]", "topology.order has 2 entries", "of 3");
    expect("\"tensor\"]", "\"tensor\", \"data\"]", "topology.order has more entries", "a list of 3 entries");
    expect("{\"kind\": \"", "{\"kind\": \"no ", "training[0].buffers[0].kind = \"no ", "stash");
    expect("\"actions\": [", "\"actions\": [7, ", "training[0].actions[0] = 7: must be",
           "an object of kind, microbatch");
    expect("\"version\"", "version", "byte ", "not JSON");
    expect("\n}", "\n}}", "byte ", "not JSON");
    expect("\"interleaved\"", "\"" + std::string(1000, 'a') + "\"", "schedule = \"aaaa", " ...");
    EXPECT_THAT(refusal(text.substr(0, text.size() / 2)), HasSubstr("not JSON, or not all of it"));
    EXPECT_THAT(refusal(""), HasSubstr("not JSON"));
    EXPECT_THAT(refusal("[]"), StartsWith("a.json: holds a list; it must be a plan, as smp_train leaves it"));
    EXPECT_THAT(refusal("7"), HasSubstr("must be a plan"));
    EXPECT_THAT(refusal("{}"), HasSubstr("has no \""));
    EXPECT_THAT(refusal("{\"model\": {\"n_layer\": 2}}"),
                StartsWith("a.json: model has \"n_layer\", which is unknown"));
}

// They end where they begin to be wrong, whatever they go on to hold.
TEST(PlanJson, DeepOrEndlessTextsAreRefusedAtOnce) {
    const std::string text = text_of(saved(kJob)), deep(10'000'000, '[');
    EXPECT_THAT(refusal(deep), HasSubstr("must be a plan"));
    EXPECT_THAT(refusal(with(text, "\"microbatches\": 2", "\"microbatches\": " + deep)), HasSubstr("= a list"));
    EXPECT_THAT(refusal(with(text, "\"actions\": [", "\"actions\": [" + deep)), HasSubstr("actions[0] = a list"));
    EXPECT_THROW(read_plan("/dev/zero"), DataError);
    EXPECT_THROW(read_plan("/dev/null"), DataError);
    EXPECT_THROW(read_plan("/"), DataError);
    EXPECT_THROW(read_plan("/no/such/plan.json"), DataError);
}

TEST(PlanJson, CutShortItIsRefusedWhereverThatIs) {
    const std::string text = text_of(saved(kJob));
    for (std::size_t size = 0; size + 1 < text.size(); size += 1 + text.size() / 500)
        EXPECT_THAT(refusal(text.substr(0, size)), AllOf(StartsWith("a.json: "), HasSubstr("not JSON"))) << size;
}

// A sentence, or the same plan: one byte that is another passes for no other plan.
RC_GTEST_PROP(PlanJson, AnyDamagedByteShows, ()) {
    static const SavedPlan plan = saved(kJob);
    std::string text = text_of(plan);
    text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
    try {
        RC_ASSERT(read(text) == plan);
    } catch (const DataError& error) {
        RC_ASSERT(std::string(error.what()).starts_with("a.json: "));
    }
}

// A hash that fits proves nothing: what a program would allocate or count by is bounded before.
TEST(PlanJson, HugeCountsAreRefusedByTheChecker) {
    const std::string text = text_of(saved(kJob));
    const auto findings = [&](const std::string& from, const std::string& to) {
        const SavedPlan plan = read(with(text, from, to, /*mended=*/true));
        return partition::check(plan.plan, plan.graph);
    };
    EXPECT_THAT(findings("\"microbatches\": 2", "\"microbatches\": 2 "), IsEmpty());
    for (const auto& [from, to] : std::initializer_list<std::pair<std::string, std::string>>{
             {"\"pipeline\": 2", "\"pipeline\": 2000000000"},
             {"\"tensor\": 1", "\"tensor\": 2000000000"},
             {"\"tensor\": 1", "\"tensor\": 0"},
             {"\"microbatches\": 2", "\"microbatches\": 2000000000"},
             {"\"active_microbatches\": 2", "\"active_microbatches\": 2000000000"},
             {"\"evaluation_microbatches\": 1", "\"evaluation_microbatches\": 2000000000"},
             {"\"end_module\": ", "\"end_module\": 20000000"},
             {"\"events\": ", "\"events\": 10000000"},
             {"\"events\": ", "\"events\": -"},
             {"\"bytes\": ", "\"bytes\": 900000000000000"},
             {"\"bytes\": ", "\"bytes\": -"},
             {"\"growth_bytes\": ", "\"growth_bytes\": 900000000000000"},
             {"\"elements\": ", "\"elements\": 900000000000000"},
         }) {
        EXPECT_THAT(findings(from, to), ::testing::Not(IsEmpty())) << to;
    }
}

TEST(PlanJson, TheHeadAloneLeavesProgramsAndModelOut) {
    const SavedPlan plan = saved(kJob);
    std::string text;
    write_plan(
        plan.plan, plan.graph, [&](std::string_view piece) { text += piece; }, PlanPart::head);
    const auto json = nlohmann::json::parse(text);
    EXPECT_EQ(json["hash"], fmt::format("{:016x}", partition::hash_of(plan.plan)));
    EXPECT_EQ(json["chunks"].size(), 2U);
    for (const char* part : {"training", "evaluation", "sampling", "model"}) EXPECT_FALSE(json.contains(part)) << part;
}

}  // namespace
}  // namespace smp::runtime
