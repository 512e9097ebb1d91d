#include "launch/bench/comparison.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/command/text_table.h"
#include "runtime/checkpoint/configurations.h"
#include "runtime/files/data_error.h"
#include "runtime/files/text_file.h"

namespace smp::launch {

namespace {

std::vector<std::string> sorted(std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end());
    return texts;
}

BaselineRow row_from(const nlohmann::json& row) {
    return {.sets = sorted(row.at("overrides").get<std::vector<std::string>>()),
            .ranks = row.at("ranks").get<int>(),
            .seconds = {.median = row.at("median_seconds").get<double>(),
                        .lower_quartile = row.at("lower_quartile_seconds").get<double>(),
                        .upper_quartile = row.at("upper_quartile_seconds").get<double>(),
                        .least = row.at("least_seconds").get<double>(),
                        .most = row.at("most_seconds").get<double>()}};
}

}  // namespace

const BaselineRow* Baseline::row_of(const Measurement& measurement) const {
    const auto sets = sorted(measurement.variant.sets);
    for (const BaselineRow& row : rows)
        if (row.ranks == measurement.ranks && row.sets == sets) return &row;
    return nullptr;
}

Baseline read_baseline(const std::filesystem::path& file) {
    const auto text = runtime::read_text(file);
    if (!text)
        throw runtime::DataError(fmt::format(
            "--baseline: \"{}\" cannot be read; name the JSON of an earlier smp_bench, as --output FILE.json writes it",
            file.string()));
    try {
        const auto document = nlohmann::json::parse(*text);
        Baseline baseline{.origin = file.string(), .rows = {}};
        const auto& configurations = document.at("configurations");
        for (std::size_t i = 0; i < document.at("rows").size(); ++i) {
            const auto& row = document["rows"][i];
            if (row.at("median_seconds").is_null()) continue;
            baseline.rows.push_back(row_from(row));
            for (const auto& line : configurations.at(i))
                baseline.rows.back().configuration += line.get<std::string>() + '\n';
        }
        return baseline;
    } catch (const nlohmann::json::exception& error) {
        throw runtime::DataError(
            fmt::format("--baseline: \"{}\" is no result of smp_bench --config in JSON ({}); make one by --output "
                        "FILE.json",
                        file.string(), error.what()));
    }
}

Change change_of(const Spread& before, const Spread& now) {
    const double difference = now.median - before.median;
    if (std::abs(difference) <= std::max(before.half_range() + now.half_range(), kLeastChange * before.median))
        return Change::none;
    return difference > 0 ? Change::slower : Change::faster;
}

Changes changes_since(const Baseline& baseline, const std::vector<Measurement>& rows) {
    Changes changes;
    const bool several =
        std::any_of(rows.begin(), rows.end(), [&](const Measurement& row) { return row.ranks != rows.front().ranks; });
    std::size_t compared = 0, faster = 0;
    std::vector<std::string> unknown, differing;
    for (const Measurement& row : rows) {
        if (!row.is_measured()) continue;
        const BaselineRow* const before = baseline.row_of(row);
        if (before == nullptr) {
            unknown.push_back(name_of(row, several));
            continue;
        }
        ++compared;
        auto [keys, others] = runtime::change_between(before->configuration, row.configuration);
        keys.insert(keys.end(), others.begin(), others.end());
        for (std::string& key : keys)
            if (std::find(differing.begin(), differing.end(), key) == differing.end())
                differing.push_back(std::move(key));
        const Spread now = spread_of(row.seconds);
        const Change change = change_of(before->seconds, now);
        if (change == Change::none) continue;
        ++(change == Change::slower ? changes.slower : faster);
        changes.sentences.push_back(fmt::format("{} got {}: {} a step before, {} now ({:+.1f} %)",
                                                name_of(row, several), change == Change::slower ? "slower" : "faster",
                                                shown_seconds(before->seconds.median), shown_seconds(now.median),
                                                1e2 * (now.median / before->seconds.median - 1)));
    }
    changes.sentences.push_back(fmt::format("beside {}: {} slower, {} faster, {} within the spread", baseline.origin,
                                            changes.slower, faster, compared - changes.slower - faster));
    if (!unknown.empty())
        changes.sentences.push_back(fmt::format("not measured in {}: {}", baseline.origin, fmt::join(unknown, "; ")));
    if (!differing.empty())
        changes.sentences.push_back(
            fmt::format("{} is of another job: {}", baseline.origin, fmt::join(differing, "; ")));
    changes.sentences.emplace_back(kChangeRule);
    return changes;
}

}  // namespace smp::launch
