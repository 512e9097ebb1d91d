// A run's folder for tests, and what stands in a report.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace smp::testing {

/// The data in a report.html.
inline nlohmann::ordered_json data_in_report(const std::string& html) {
    const std::string begin = "<script type=\"application/json\" id=\"smp-data\">";
    const std::size_t from = html.find(begin);
    if (from == std::string::npos) throw std::runtime_error("the report has no data");
    const std::size_t first = from + begin.size();
    return nlohmann::ordered_json::parse(html.substr(first, html.find("</script>", first) - first));
}

/// [step, value] pairs of each number in the lines of a metrics.jsonl, as a report of a short run has them.
inline std::map<std::string, std::vector<std::pair<double, double>>> numbers_in_metrics(const std::string& lines) {
    std::map<std::string, std::vector<std::pair<double, double>>> columns;
    for (std::size_t begin = 0, end = 0; (end = lines.find('\n', begin)) != std::string::npos; begin = end + 1) {
        const auto record = nlohmann::json::parse(lines.substr(begin, end - begin));
        for (const auto& [name, value] : record.items())
            if (value.is_number() && name != "step")
                columns[name].emplace_back(record["step"].get<double>(), value.get<double>());
    }
    return columns;
}

/// The same of one run in a report's data.
inline std::map<std::string, std::vector<std::pair<double, double>>> numbers_in_report(
    const nlohmann::ordered_json& run) {
    std::map<std::string, std::vector<std::pair<double, double>>> columns;
    for (const auto& [name, points] : run["columns"].items())
        for (const auto& point : points) columns[name].emplace_back(point[0].get<double>(), point[1].get<double>());
    return columns;
}

/// The SVG pictures in it.
inline std::vector<std::string> pictures_in_report(const std::string& html) {
    std::vector<std::string> pictures;
    for (std::size_t at = html.find("<svg"); at != std::string::npos; at = html.find("<svg", at + 1))
        pictures.push_back(html.substr(at, html.find("</svg>", at) + 6 - at));
    return pictures;
}

}  // namespace smp::testing
