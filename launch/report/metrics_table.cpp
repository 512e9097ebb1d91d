#include "launch/report/metrics_table.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

namespace smp::launch {

namespace {

using Json = nlohmann::json;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// The numbers of one line, as the reader comes to them: a value a line would be three times as slow.
class LineReader : public nlohmann::json_sax<Json> {
  public:
    std::vector<std::pair<std::string, double>> numbers;
    bool is_whole = false;

    bool null() override { return true; }
    bool boolean(bool /*value*/) override { return true; }
    bool number_integer(number_integer_t value) override { return keep(static_cast<double>(value)); }
    bool number_unsigned(number_unsigned_t value) override { return keep(static_cast<double>(value)); }
    bool number_float(number_float_t value, const string_t& /*text*/) override { return keep(value); }
    bool string(string_t& /*value*/) override { return true; }
    bool binary(binary_t& /*value*/) override { return true; }
    bool start_object(std::size_t /*size*/) override { return enter(); }
    bool key(string_t& name) override {
        if (depth_ == 1) name_ = name;
        return true;
    }
    bool end_object() override { return leave(); }
    bool start_array(std::size_t /*size*/) override { return enter(); }
    bool end_array() override { return leave(); }
    bool parse_error(std::size_t /*at*/, const std::string& /*token*/, const Json::exception& /*error*/) override {
        return false;
    }

  private:
    bool keep(double value) {
        if (depth_ == 1) numbers.emplace_back(name_, value);
        return true;
    }
    bool enter() {
        ++depth_;
        return true;
    }
    bool leave() {
        is_whole = --depth_ == 0;
        return true;
    }

    int depth_ = 0;
    std::string name_;
};

}  // namespace

const MetricsColumn* MetricsTable::find(std::string_view name) const {
    const auto found = std::ranges::find(columns, name, &MetricsColumn::name);
    return found == columns.end() ? nullptr : &*found;
}

MetricsTable read_metrics(const std::filesystem::path& file) {
    MetricsTable table;
    std::map<std::string, std::size_t> places;
    std::ifstream stream(file, std::ios::binary);
    for (std::string line; std::getline(stream, line);) {
        LineReader reader;
        if (!Json::sax_parse(line, &reader) || !reader.is_whole) continue;
        const auto step = std::ranges::find(reader.numbers, "step", [](const auto& number) { return number.first; });
        if (step == reader.numbers.end()) continue;
        table.steps.push_back(step->second);
        for (const auto& [name, value] : reader.numbers) {
            if (name == "step") continue;
            const auto [place, is_new] = places.emplace(name, table.columns.size());
            if (is_new) table.columns.push_back({name, {}});
            auto& values = table.columns[place->second].values;
            values.resize(table.steps.size(), kUnknown);
            values.back() = value;
        }
    }
    for (MetricsColumn& column : table.columns) column.values.resize(table.steps.size(), kUnknown);
    return table;
}

}  // namespace smp::launch
