// Timelines in Chrome's trace-event format, which ui.perfetto.dev and chrome://tracing open: predicted ones by
// smp_plan, measured ones by a run. Both name their actions alike, so that they can be laid side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partition/plan/action.h"

namespace smp::runtime {

/// One bar of the timeline. Entries that say nothing (−1; bytes 0) are left out of the file.
struct TraceSpan {
    int process = 0;  // index into Trace::processes
    int track = 0;    // index into Trace::tracks
    partition::Activity activity = partition::Activity::other;
    std::string name;
    std::int64_t start_ns = 0;  // from any moment that all spans share
    std::int64_t duration_ns = 0;
    std::int64_t step = -1;
    int microbatch = -1;
    int chunk = -1;
    std::int64_t bytes = 0;
};

struct Trace {
    std::vector<std::string> processes;  // "stage 0", "rank 3 (pp 1, tp 1, rdp 0)"
    std::vector<std::string> tracks;     // "compute", "send activations": each process has those that it uses
    std::vector<std::pair<std::string, std::string>> facts;  // about the whole: name and value
    std::vector<TraceSpan> spans;                            // in any order
};

/// The tracks that span_of() puts actions on: one for the compute stream, one for each channel and direction of
/// messages, one for collectives on the communication stream.
std::vector<std::string> action_tracks();

/// An action's track, activity, name (partition::name_of), microbatch, chunk and bytes. Process, times and step are the
/// caller's.
TraceSpan span_of(const partition::Action& action);

/// Hands the file to `sink`, piece by piece (about 64 KiB each). Spans of one process and track that overlap, as
/// messages on their way do, are drawn on tracks of their own, "send activations", "send activations 2", …: on one
/// track of the file nothing overlaps. Times are microseconds with three decimals, exactly. Equal traces give equal
/// text. Throws std::logic_error for a span whose process or track is not listed or whose duration is negative.
void write_trace(const Trace& trace, const std::function<void(std::string_view)>& sink);

}  // namespace smp::runtime
