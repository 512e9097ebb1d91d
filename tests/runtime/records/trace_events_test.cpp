// If these fail, trace.json and smp_plan --format trace do not show what happened when.
#include "runtime/records/trace_events.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace smp::runtime {
namespace {

using partition::Action;
using partition::ActionKind;
using partition::Channel;
using partition::Stream;
using Json = nlohmann::json;

std::string text_of(const Trace& trace) {
    std::string text;
    write_trace(trace, [&](std::string_view piece) { text += piece; });
    return text;
}

/// Events by phase.
std::vector<Json> events_of(const std::string& text, const std::string& phase) {
    std::vector<Json> events;
    const Json file = Json::parse(text);
    for (const Json& event : file.at("traceEvents"))
        if (event.at("ph") == phase) events.push_back(event);
    return events;
}

Trace small_trace() {
    Trace trace{
        .processes = {"stage 0", "stage 1"}, .tracks = action_tracks(), .facts = {{"plan", "00ff"}}, .spans = {}};
    trace.spans.push_back(span_of(
        {.kind = ActionKind::forward, .microbatch = partition::MicrobatchId(3), .chunk = partition::ChunkId(1)}));
    trace.spans.back().start_ns = 1'234'567;
    trace.spans.back().duration_ns = 8;
    trace.spans.push_back(span_of({.kind = ActionKind::send,
                                   .microbatch = partition::MicrobatchId(3),
                                   .chunk = partition::ChunkId(1),
                                   .peer = partition::StageId(0),
                                   .channel = Channel::activations,
                                   .stream = Stream::communication,
                                   .bytes = 4096}));
    trace.spans.back().process = 1;
    trace.spans.back().start_ns = -1'500;
    trace.spans.back().step = 7;
    return trace;
}

TEST(TraceEvents, OneEventASpanWithNamesTimesAndArguments) {
    const std::string text = text_of(small_trace());
    EXPECT_EQ(Json::parse(text).at("otherData"), Json({{"plan", "00ff"}}));
    EXPECT_THAT(text, ::testing::HasSubstr("\"ts\":1234.567,\"dur\":0.008,"));
    EXPECT_THAT(text, ::testing::HasSubstr("\"ts\":-1.500,\"dur\":0.000,"));
    const auto spans = events_of(text, "X");
    ASSERT_EQ(spans.size(), 2U);
    EXPECT_EQ(spans[0].at("name"), "F mb3 chunk1");
    EXPECT_EQ(spans[0].at("cat"), "forward");
    EXPECT_EQ(spans[0].at("pid"), 0);
    EXPECT_EQ(spans[0].at("args"), Json({{"microbatch", 3}, {"chunk", 1}}));
    EXPECT_EQ(spans[1].at("name"), "send activations mb3 chunk1 -> stage 0");
    EXPECT_EQ(spans[1].at("pid"), 1);
    EXPECT_EQ(spans[1].at("args"), Json({{"step", 7}, {"microbatch", 3}, {"chunk", 1}, {"bytes", 4096}}));

    std::map<std::pair<int, std::string>, std::string> names;
    for (const Json& event : events_of(text, "M"))
        if (event.at("args").contains("name")) names[{event.at("pid"), event.at("name")}] = event.at("args").at("name");
    EXPECT_EQ(names, (std::map<std::pair<int, std::string>, std::string>{
                         {{0, "process_name"}, "stage 0"},
                         {{0, "thread_name"}, "compute"},
                         {{1, "process_name"}, "stage 1"},
                         {{1, "thread_name"}, "send activations"},
                     }));
}

TEST(TraceEvents, NamesMayHoldAnything) {
    Trace trace = small_trace();
    trace.processes[0] = trace.spans[0].name = trace.facts[0].second = "a \"b\" \\ \n \xff é";
    const Json file = Json::parse(text_of(trace));
    EXPECT_EQ(events_of(file.dump(), "X")[0].at("name"), "a \"b\" \\ \n \xef\xbf\xbd é");
}

TEST(TraceEvents, AnEmptyTraceIsAFileToo) { EXPECT_TRUE(Json::parse(text_of({})).at("traceEvents").empty()); }

TEST(TraceEvents, EveryActionHasATrackOfItsOwnSort) {
    const std::vector<std::string> tracks = action_tracks();
    const auto track = [&](ActionKind kind, Channel channel, Stream stream) {
        return tracks.at(static_cast<std::size_t>(span_of({.kind = kind, .channel = channel, .stream = stream}).track));
    };
    const auto moved = Stream::communication;
    EXPECT_EQ(track(ActionKind::backward, Channel::none, Stream::compute), "compute");
    EXPECT_EQ(track(ActionKind::optimizer_step, Channel::world, Stream::compute), "compute");
    EXPECT_EQ(track(ActionKind::send, Channel::activations, moved), "send activations");
    EXPECT_EQ(track(ActionKind::receive, Channel::activations, moved), "receive activations");
    EXPECT_EQ(track(ActionKind::send, Channel::gradients, moved), "send gradients");
    EXPECT_EQ(track(ActionKind::receive, Channel::gradients, moved), "receive gradients");
    EXPECT_EQ(track(ActionKind::send, Channel::tied, moved), "send tied");
    EXPECT_EQ(track(ActionKind::receive, Channel::tied, moved), "receive tied");
    EXPECT_EQ(track(ActionKind::reduce_gradients, Channel::data, moved), "collectives");
}

TEST(TraceEvents, WrongSpansAreOurMistake) {
    const auto changed = [](auto change) {
        Trace trace = small_trace();
        change(trace.spans[0]);
        return trace;
    };
    EXPECT_THROW(text_of(changed([](TraceSpan& span) { span.process = 2; })), std::logic_error);
    EXPECT_THROW(text_of(changed([](TraceSpan& span) { span.track = -1; })), std::logic_error);
    EXPECT_THROW(text_of(changed([](TraceSpan& span) { span.duration_ns = -1; })), std::logic_error);
}

RC_GTEST_PROP(TraceEvents, NothingIsLostAndNothingOverlapsOnATrackOfTheFile, ()) {
    Trace trace{.processes = {"a", "b"}, .tracks = {"x", "y"}, .facts = {}, .spans = {}};
    const int count = *rc::gen::inRange(0, 60);
    for (int i = 0; i < count; ++i) {
        TraceSpan span;
        span.process = *rc::gen::inRange(0, 2);
        span.track = *rc::gen::inRange(0, 2);
        span.name = std::to_string(i);
        span.start_ns = *rc::gen::inRange(0, 40);
        span.duration_ns = *rc::gen::inRange(0, 10);
        trace.spans.push_back(span);
    }
    const std::string text = text_of(trace);
    std::map<std::pair<int, int>, std::string> names;
    for (const Json& event : events_of(text, "M"))
        if (event.at("name") == "thread_name") names[{event.at("pid"), event.at("tid")}] = event.at("args").at("name");
    std::map<std::pair<int, int>, std::int64_t> ends;
    std::set<std::string> seen;
    const auto nanoseconds = [](const Json& microseconds) { return std::llround(1e3 * microseconds.get<double>()); };
    for (const Json& event : events_of(text, "X")) {
        const std::string name = event.at("name");
        const TraceSpan& span = trace.spans.at(std::stoul(name));
        RC_ASSERT(seen.insert(name).second);
        RC_ASSERT(event.at("pid") == span.process);
        RC_ASSERT(nanoseconds(event.at("ts")) == span.start_ns);
        RC_ASSERT(nanoseconds(event.at("dur")) == span.duration_ns);
        const std::pair<int, int> thread{event.at("pid"), event.at("tid")};
        RC_ASSERT(names.at(thread).substr(0, 1) == trace.tracks[static_cast<std::size_t>(span.track)]);
        RC_ASSERT(!ends.contains(thread) || ends[thread] <= span.start_ns);
        ends[thread] = span.start_ns + span.duration_ns;
    }
    RC_ASSERT(seen.size() == trace.spans.size());
}

}  // namespace
}  // namespace smp::runtime
