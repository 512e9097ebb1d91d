#include "launch/bench/links_report.h"

#include <algorithm>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "launch/bench/pair_rounds.h"
#include "launch/bench/statistics.h"
#include "launch/command/text_table.h"
#include "partition/foresight/memory_use.h"
#include "runtime/records/median.h"

namespace smp::launch {

namespace {

constexpr std::size_t kMostShown = 28;  // pairs for people: all of 8 ranks

std::string shown_rate(double bytes_per_second) { return shown_si(bytes_per_second) + "B/s"; }

std::string ends_of(const LinksFacts& facts, const LinkTimes& pair) {
    const auto& [first, second] = std::pair{facts.hosts[pair.first], facts.hosts[pair.second]};
    return first == second ? first : first + " - " + second;
}

std::string described(const LinksFacts& facts, const LinkTimes& pair) {
    return fmt::format("ranks {} and {} ({})", pair.first, pair.second, ends_of(facts, pair));
}

ReportRow row_of(const LinksFacts& facts, const LinkTimes& pair) {
    const double rate = static_cast<double>(facts.bytes) / pair.seconds;
    return {.cells = {{fmt::format("{}-{}", pair.first, pair.second), "pair"},
                      {"", {pair.first, pair.second}},
                      {ends_of(facts, pair), {facts.hosts[pair.first], facts.hosts[pair.second]}},
                      {shown_seconds(pair.latency_seconds), pair.latency_seconds},
                      {shown_seconds(pair.seconds), pair.seconds},
                      {shown_rate(rate), rate}}};
}

ReportRow row_of(const CollectiveTimes& collective) {
    const double rate = static_cast<double>(collective.moved_bytes) / collective.seconds;
    return {.cells = {{collective.name, collective.name},
                      {},
                      {collective.place, collective.place},
                      {shown_seconds(collective.latency_seconds), collective.latency_seconds},
                      {shown_seconds(collective.seconds), collective.seconds},
                      {shown_rate(rate), rate}}};
}

/// The host whose ways to others take longest by the median, where there are enough hosts for that to say which.
std::string slowest_host(const LinksFacts& facts, const std::vector<LinkTimes>& pairs, double LinkTimes::*member,
                         const std::function<std::string(double)>& shown) {
    std::map<std::string, std::vector<double>> by_host;
    std::vector<double> between;
    for (const LinkTimes& pair : pairs) {
        if (facts.hosts[pair.first] == facts.hosts[pair.second]) continue;
        between.push_back(pair.*member);
        for (const int rank : {pair.first, pair.second}) by_host[facts.hosts[rank]].push_back(pair.*member);
    }
    if (by_host.size() < 3) return "";
    std::string slowest;
    double most = 0;
    for (const auto& [host, values] : by_host)
        if (const double median = runtime::median(values); median > most) {
            most = median;
            slowest = host;
        }
    return fmt::format("; slowest host: {}, {} to the others, where the median between hosts is {}", slowest,
                       shown(most), shown(runtime::median(between)));
}

std::vector<std::string> remarks_of(const LinksFacts& facts, const std::vector<LinkTimes>& pairs) {
    std::vector<double> latencies, seconds;
    for (const LinkTimes& pair : pairs) {
        latencies.push_back(pair.latency_seconds);
        seconds.push_back(pair.seconds);
    }
    const auto by = [&](double LinkTimes::*member) {
        return *std::max_element(pairs.begin(), pairs.end(), [&](const LinkTimes& one, const LinkTimes& other) {
            return one.*member < other.*member;
        });
    };
    const LinkTimes late = by(&LinkTimes::latency_seconds), slow = by(&LinkTimes::seconds);
    const auto rate = [&](double time) { return shown_rate(static_cast<double>(facts.bytes) / time); };
    return {
        fmt::format("slowest pair by latency: {}, {}, where the median of all pairs is {}{}", described(facts, late),
                    shown_seconds(late.latency_seconds), shown_seconds(runtime::median(latencies)),
                    slowest_host(facts, pairs, &LinkTimes::latency_seconds, shown_seconds)),
        fmt::format("slowest pair by bandwidth: {}, {}, where the median of all pairs is {}{}", described(facts, slow),
                    rate(slow.seconds), rate(runtime::median(seconds)),
                    slowest_host(facts, pairs, &LinkTimes::seconds, rate))};
}

}  // namespace

Report links_report(const LinksFacts& facts, const std::vector<LinkTimes>& pairs,
                    const std::vector<CollectiveTimes>& collectives) {
    Report report;
    const std::string large = partition::shown_bytes(facts.bytes);
    const auto ranks = static_cast<int>(facts.hosts.size());
    report.head = {fmt::format("{} links: {} as {}", facts.program, counted(ranks, "rank"),
                               facts.are_threads ? "threads of one process" : "processes")};
    report.columns = {{"what", "between", 0, true},   {"ranks", ""},      {"hosts", "hosts", 0, true},
                      {"latency_seconds", "latency"}, {"seconds", large}, {"bytes_per_second", "bandwidth"}};
    std::vector<LinkTimes> slowest = pairs;
    std::sort(slowest.begin(), slowest.end(),
              [](const LinkTimes& one, const LinkTimes& other) { return one.latency_seconds > other.latency_seconds; });
    const double least = slowest.size() > kMostShown ? slowest[kMostShown - 1].latency_seconds : 0;
    for (const LinkTimes& pair : pairs) {
        report.rows.push_back(row_of(facts, pair));
        report.rows.back().is_folded = pair.latency_seconds < least;
    }
    for (const CollectiveTimes& collective : collectives) report.rows.push_back(row_of(collective));
    report.facts = {{"program", facts.program},
                    {"ranks_are", facts.are_threads ? "threads" : "processes"},
                    {"hosts", facts.hosts},
                    {"bytes", facts.bytes},
                    {"repeats", facts.repeats}};
    if (slowest.size() > kMostShown)
        report.remarks.push_back(fmt::format(
            "shown are the {} pairs of {} with the largest latency; --format csv has all", kMostShown, slowest.size()));
    for (std::string& remark : remarks_of(facts, pairs)) report.remarks.push_back(std::move(remark));
    report.remarks.push_back(fmt::format(
        "medians of {}; latency: of 8 bytes, one way (half of a round trip); bandwidth: {} over their time, of a "
        "collective the bytes that a ring moves in and out of each rank; {}",
        counted(facts.repeats, "repeat"), large,
        ranks > kMostRanksInTurn ? "pairs without a common rank are measured at the same time" : "one pair at a time"));
    return report;
}

}  // namespace smp::launch
