#include "runtime/records/node_log.h"

#include <cmath>

#include <fmt/format.h>

#include "partition/foresight/memory_forecast.h"
#include "runtime/files/shown_text.h"

namespace smp::runtime {

namespace {

std::string shown_bytes(double bytes) {
    return std::isnan(bytes) ? "unknown" : partition::shown_bytes(static_cast<std::int64_t>(bytes));
}

}  // namespace

bool writes_node_log(std::span<const RankPlace> places, int rank) {
    const auto nodes = nodes_of(places);
    if (nodes.size() < 2) return false;
    for (const Node& node : nodes)
        if (node.ranks.front().rank == rank) return true;
    return false;
}

void NodeLog::started(const RunStart& run) {
    every_ = run.job.logging.every;
    last_ = run.job.training.steps;
    const std::string& host = run.places.at(static_cast<std::size_t>(run.rank)).host;
    log_.emplace(folder_ / fmt::format("log.{}.txt", host),
                 run.steps_done > 0 ? LineFile::Start::go_on : LineFile::Start::anew);
    for (const Node& node : nodes_of(run.places)) {
        if (node.host != host) continue;
        log_->write(escaped(described(node)));
        for (const RankPlace& place : node.ranks) {
            ranks_.push_back(place.rank);
            log_->write(escaped(described(place)));
        }
        for (const std::string& sentence : what_slows(node.ranks)) log_->write("warning: " + escaped(sentence));
    }
}

void NodeLog::stepped(const StepRecord& record) {
    if (record.step % every_ != 0 && record.step != last_ && record.step != 1) return;
    const RankStep& first = record.ranks.at(static_cast<std::size_t>(ranks_.front()));
    std::string line = fmt::format("step {} | node memory {}", record.step, shown_bytes(first.node_memory_bytes));
    if (!std::isnan(first.device_memory_bytes))
        line += fmt::format(" | device memory {}", shown_bytes(first.device_memory_bytes));
    for (const int rank : ranks_) {
        const RankStep& step = record.ranks.at(static_cast<std::size_t>(rank));
        line +=
            fmt::format(" | rank {}: {:.1f} ms, waited {:.1f} ms", rank, 1e3 * step.seconds, 1e3 * step.wait_seconds);
        if (!std::isnan(step.resident_bytes)) line += fmt::format(", {} resident", shown_bytes(step.resident_bytes));
        if (record.straggler_rank == rank) line += ", a straggler";
    }
    log_->write(line);
}

}  // namespace smp::runtime
