#include "runtime/records/trace_events.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <tuple>

#include <fmt/compile.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::runtime {

namespace {

using partition::Action;
using partition::ActionKind;
using partition::Activity;
using partition::Channel;

constexpr std::size_t kPiece = 64 * 1024;

// action_tracks(): compute, then a pair for each channel that messages travel on, then collectives, then copies.
constexpr std::array<std::string_view, 3> kMessageChannels = {"activations", "gradients", "tied"};
constexpr int kComputeTrack = 0;
constexpr int kCollectiveTrack = 1 + 2 * static_cast<int>(kMessageChannels.size());
constexpr int kCopyOutTrack = kCollectiveTrack + 1, kCopyInTrack = kCollectiveTrack + 2;

int track_of(const Action& action) {
    if (action.stream == partition::Stream::compute) return kComputeTrack;
    if (action.stream == partition::Stream::copy_out) return kCopyOutTrack;
    if (action.stream == partition::Stream::copy_in) return kCopyInTrack;
    const int direction = action.kind == ActionKind::receive ? 1 : 0;
    switch (action.channel) {
        case Channel::activations: return 1 + direction;
        case Channel::gradients: return 3 + direction;
        case Channel::tied: return 5 + direction;
        case Channel::none:
        case Channel::data:
        case Channel::world: return kCollectiveTrack;
    }
    throw std::logic_error("trace: no such channel");
}

/// Names of Chrome's palette. Perfetto colours by the name without its digits, which amounts to the same.
std::string_view colour_of(Activity activity) {
    switch (activity) {
        case Activity::forward: return "rail_response";
        case Activity::backward: return "thread_state_running";
        case Activity::backward_weight: return "olive";
        case Activity::recompute: return "yellow";
        case Activity::communication: return "thread_state_iowait";
        case Activity::reduction: return "rail_animation";
        case Activity::optimizer: return "terrible";
        case Activity::other: return "grey";
    }
    throw std::logic_error("trace: no such activity");
}

std::string in_quotes(const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Nanoseconds as microseconds.
template <typename Output>
Output put_microseconds(Output out, std::int64_t ns) {
    if (ns < 0) *out++ = '-';
    const std::uint64_t size = ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : static_cast<std::uint64_t>(ns);
    return fmt::format_to(out, FMT_COMPILE("{}.{:03}"), size / 1000, size % 1000);
}

/// The events of the file one after the other, handed on in pieces.
class EventList {
  public:
    explicit EventList(const std::function<void(std::string_view)>& sink) : sink_(sink) {}

    void begin(const Trace& trace) {
        put("{\"displayTimeUnit\":\"ms\",\"otherData\":{");
        for (const auto& [name, value] : trace.facts)
            put(fmt::format("{}{}:{}", piece_.back() == '{' ? "" : ",", in_quotes(name), in_quotes(value)));
        put("},\"traceEvents\":[");
    }

    /// `what` is process or thread. The order on the screen is that of the indices.
    void name(std::string_view what, int process, int thread, const std::string& text) {
        next();
        put(fmt::format(R"({{"ph":"M","pid":{0},"tid":{1},"name":"{2}_name","args":{{"name":{3}}}}},)"
                        "\n"
                        R"({{"ph":"M","pid":{0},"tid":{1},"name":"{2}_sort_index","args":{{"sort_index":{4}}}}})",
                        process, thread, what, in_quotes(text), what == "process" ? process : thread));
    }

    void span(const TraceSpan& span, int thread) {
        next();
        auto out = std::back_inserter(piece_);
        out = fmt::format_to(out, FMT_COMPILE(R"({{"ph":"X","pid":{},"tid":{},"ts":)"), span.process, thread);
        out = put_microseconds(out, span.start_ns);
        out = fmt::format_to(out, FMT_COMPILE(R"(,"dur":)"));
        out = put_microseconds(out, span.duration_ns);
        fmt::format_to(out, FMT_COMPILE(R"(,"name":{},"cat":"{}","cname":"{}","args":{{)"), in_quotes(span.name),
                       partition::word_of(span.activity), colour_of(span.activity));
        argument("step", span.step, span.step >= 0);
        argument("microbatch", span.microbatch, span.microbatch >= 0);
        argument("chunk", span.chunk, span.chunk >= 0);
        argument("bytes", span.bytes, span.bytes > 0);
        put("}}");
        if (piece_.size() >= kPiece) hand_on();
    }

    void end() {
        put("\n]}\n");
        hand_on();
    }

  private:
    void put(std::string_view text) { piece_ += text; }
    void next() {
        put(is_first_ ? "\n" : ",\n");
        is_first_ = false;
    }
    void argument(std::string_view name, std::int64_t value, bool is_said) {
        if (!is_said) return;
        fmt::format_to(std::back_inserter(piece_), FMT_COMPILE(R"({}"{}":{})"), piece_.back() == '{' ? "" : ",", name,
                       value);
    }
    void hand_on() {
        sink_(piece_);
        piece_.clear();
    }

    const std::function<void(std::string_view)>& sink_;
    std::string piece_;
    bool is_first_ = true;
};

void require_listed(const Trace& trace, const TraceSpan& span) {
    const auto lists = [](const std::vector<std::string>& names, int index) {
        return index >= 0 && index < static_cast<int>(names.size());
    };
    if (!lists(trace.processes, span.process) || !lists(trace.tracks, span.track) || span.duration_ns < 0) {
        throw std::logic_error(fmt::format("trace: \"{}\" lies on process {}, track {} and lasts {} ns", span.name,
                                           span.process, span.track, span.duration_ns));
    }
}

}  // namespace

std::vector<std::string> action_tracks() {
    std::vector<std::string> tracks = {"compute"};
    for (const std::string_view channel : kMessageChannels) {
        tracks.push_back(fmt::format("send {}", channel));
        tracks.push_back(fmt::format("receive {}", channel));
    }
    tracks.insert(tracks.end(), {"collectives", "copies to host memory", "copies from host memory"});
    return tracks;
}

TraceSpan span_of(const Action& action) {
    TraceSpan span;
    span.track = track_of(action);
    span.activity = partition::facts_of(action.kind).activity;
    span.name = partition::name_of(action);
    span.microbatch = action.microbatch.number();
    span.chunk = action.chunk.number();
    span.bytes = action.bytes;
    return span;
}

void write_trace(const Trace& trace, const std::function<void(std::string_view)>& sink) {
    for (const TraceSpan& span : trace.spans) require_listed(trace, span);
    std::vector<std::size_t> order(trace.spans.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto key = [&](std::size_t i) {
        const TraceSpan& span = trace.spans[i];
        return std::tuple(span.process, span.track, span.start_ns, span.duration_ns);
    };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });

    EventList events(sink);
    events.begin(trace);
    for (std::size_t i = 0; i < trace.processes.size(); ++i)
        events.name("process", static_cast<int>(i), 0, trace.processes[i]);
    int thread = 0;                   // the next free one of the process
    std::vector<std::int64_t> lanes;  // where the last span of each thread of the current track ends
    const TraceSpan* last = nullptr;
    for (const std::size_t i : order) {
        const TraceSpan& span = trace.spans[i];
        if (last == nullptr || last->process != span.process) thread = 0;
        if (last == nullptr || last->process != span.process || last->track != span.track) lanes.clear();
        const auto free =
            std::find_if(lanes.begin(), lanes.end(), [&](std::int64_t end) { return end <= span.start_ns; });
        const int lane = static_cast<int>(free - lanes.begin());
        if (free == lanes.end()) {
            lanes.push_back(0);
            const std::string& name = trace.tracks[static_cast<std::size_t>(span.track)];
            events.name("thread", span.process, thread++, lane == 0 ? name : fmt::format("{} {}", name, lane + 1));
        }
        lanes[static_cast<std::size_t>(lane)] = span.start_ns + span.duration_ns;
        events.span(span, thread - static_cast<int>(lanes.size()) + lane);
        last = &span;
    }
    events.end();
}

}  // namespace smp::runtime
