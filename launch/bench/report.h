// What a benchmark says, as one value that is shown as text, Markdown, CSV or JSON.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "partition/job/words.h"

namespace smp::launch {

enum class ReportFormat { text, markdown, json, csv };

/// One value for people and for programs. What is not known: "" and null.
struct ReportCell {
    std::string shown;
    nlohmann::ordered_json value;
};

struct ReportColumn {
    std::string key;        // in CSV and JSON
    std::string title;      // for people; empty: for programs only
    std::size_t table = 0;  // of those that people see, one below the other; each begins with the column 0
    bool is_text = false;   // to the left
};

struct ReportRow {
    std::vector<ReportCell> cells;  // one a column
    bool is_folded = false;         // for programs only
};

struct Report {
    nlohmann::ordered_json facts = nlohmann::ordered_json::object();  // ahead of the rows in JSON
    std::vector<std::string> head;                                    // lines above the tables
    std::vector<ReportColumn> columns;
    std::vector<ReportRow> rows;
    std::vector<std::string> remarks;  // sentences below them
};

/// Text and Markdown leave out columns of which nothing is known, and tables that are empty then. CSV is a line of
/// keys and one a row (RFC 4180), lists with spaces between their elements; it has no head and no remarks. JSON:
/// facts, "rows" as objects by key, "remarks".
std::string in_format(const Report& report, ReportFormat format);

}  // namespace smp::launch

namespace smp::partition {

template <>
struct Words<launch::ReportFormat> {
    static constexpr std::array<std::string_view, 4> list = {"text", "markdown", "json", "csv"};
};

}  // namespace smp::partition
