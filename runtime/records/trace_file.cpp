#include "runtime/records/trace_file.h"

#include <span>
#include <string_view>
#include <utility>

#include "partition/foresight/measured_durations.h"
#include "runtime/files/output_file.h"
#include "runtime/records/measured_trace.h"

namespace smp::runtime {

TraceFile::TraceFile(std::filesystem::path path) : path_(std::move(path)) {}

void TraceFile::started(const RunStart& run) {
    std::filesystem::remove(path_);
    plan_ = &run.plan;
    trace_ = trace_of_ranks(run.plan);
}

void TraceFile::traced(const partition::StepTimes& times) {
    if (!zero_ns_) zero_ns_ = partition::first_nanosecond(times);
    add_step(trace_, *plan_, times, *zero_ns_);
    OutputFile file(path_, OutputFile::Existing::replace);
    write_trace(trace_, [&](std::string_view piece) { file.write(std::as_bytes(std::span(piece))); });
    file.commit();
}

}  // namespace smp::runtime
