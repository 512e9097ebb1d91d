#include "launch/bench/report.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/command/text_table.h"

namespace smp::launch {

namespace {

using Json = nlohmann::ordered_json;
using Table = std::vector<std::vector<std::string>>;

bool is_shown(const Report& report, std::size_t column) {
    return !report.columns[column].title.empty() &&
           std::any_of(report.rows.begin(), report.rows.end(),
                       [&](const ReportRow& row) { return !row.is_folded && !row.cells[column].shown.empty(); });
}

/// Columns of a table for people, the row's name first; none where nothing else is known.
std::vector<std::size_t> columns_of(const Report& report, std::size_t table) {
    std::vector<std::size_t> columns = {0};
    for (std::size_t i = 1; i < report.columns.size(); ++i)
        if (report.columns[i].table == table && is_shown(report, i)) columns.push_back(i);
    return columns.size() > 1 ? columns : std::vector<std::size_t>{};
}

std::size_t table_count(const Report& report) {
    std::size_t count = 0;
    for (const ReportColumn& column : report.columns) count = std::max(count, column.table + 1);
    return count;
}

Table cells_of(const Report& report, const std::vector<std::size_t>& columns) {
    Table table(1);
    for (const std::size_t i : columns) table.front().push_back(report.columns[i].title);
    for (const ReportRow& row : report.rows) {
        if (row.is_folded) continue;
        table.emplace_back();
        for (const std::size_t i : columns)
            table.back().push_back(row.cells[i].shown.empty() ? "-" : row.cells[i].shown);
    }
    return table;
}

/// Text to the left stands in front of the numbers.
std::size_t left_columns(const Report& report, const std::vector<std::size_t>& columns) {
    std::size_t count = 1;
    while (count < columns.size() && report.columns[columns[count]].is_text) ++count;
    return count;
}

/// A bar would end the cell.
std::string escaped_cell(const std::string& cell) {
    std::string escaped;
    for (const char c : cell) {
        if (c == '|') escaped.push_back('\\');
        escaped.push_back(c);
    }
    return escaped;
}

std::string markdown_table(const Table& table, std::size_t left) {
    std::string text;
    for (std::size_t i = 0; i < table.size(); ++i) {
        for (const std::string& cell : table[i]) text += fmt::format("| {} ", escaped_cell(cell));
        text += "|\n";
        if (i > 0) continue;
        for (std::size_t column = 0; column < table[0].size(); ++column) text += column < left ? "| --- " : "| ---: ";
        text += "|\n";
    }
    return text;
}

std::string for_people(const Report& report, bool markdown) {
    std::string text;
    for (const std::string& line : report.head) text += fmt::format("{}{}\n", line, markdown ? "  " : "");
    for (std::size_t table = 0; table < table_count(report); ++table) {
        const auto columns = columns_of(report, table);
        if (columns.empty()) continue;
        const Table cells = cells_of(report, columns);
        const std::size_t left = left_columns(report, columns);
        if (!text.empty()) text.push_back('\n');
        text += markdown ? markdown_table(cells, left) : text_table(cells, left);
    }
    if (!report.remarks.empty()) text += '\n';
    for (const std::string& remark : report.remarks) text += fmt::format("{}{}\n", markdown ? "- " : "", remark);
    return text;
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted(1, '"');
    for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
    quoted.push_back('"');
    return quoted;
}

std::string csv_value(const Json& value) {
    if (value.is_null()) return "";
    if (value.is_string()) return csv_field(value.get<std::string>());
    if (!value.is_array()) return csv_field(value.dump());
    std::vector<std::string> elements;
    for (const Json& element : value)
        elements.push_back(element.is_string() ? element.get<std::string>() : element.dump());
    return csv_field(fmt::format("{}", fmt::join(elements, " ")));
}

std::string to_csv(const Report& report) {
    std::vector<std::string> fields;
    for (const ReportColumn& column : report.columns) fields.push_back(csv_field(column.key));
    std::string text = fmt::format("{}\n", fmt::join(fields, ","));
    for (const ReportRow& row : report.rows) {
        fields.clear();
        for (const ReportCell& cell : row.cells) fields.push_back(csv_value(cell.value));
        text += fmt::format("{}\n", fmt::join(fields, ","));
    }
    return text;
}

std::string to_json(const Report& report) {
    Json document = report.facts;
    document["rows"] = Json::array();
    for (const ReportRow& row : report.rows) {
        Json object = Json::object();
        for (std::size_t i = 0; i < row.cells.size(); ++i) object[report.columns[i].key] = row.cells[i].value;
        document["rows"].push_back(std::move(object));
    }
    document["remarks"] = report.remarks;
    return fmt::format("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

std::string in_format(const Report& report, ReportFormat format) {
    switch (format) {
        case ReportFormat::text: return for_people(report, /*markdown=*/false);
        case ReportFormat::markdown: return for_people(report, /*markdown=*/true);
        case ReportFormat::json: return to_json(report);
        case ReportFormat::csv: return to_csv(report);
    }
    return {};
}

}  // namespace smp::launch
