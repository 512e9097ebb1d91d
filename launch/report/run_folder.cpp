#include "launch/report/run_folder.h"

#include <algorithm>
#include <exception>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/report/timelines.h"
#include "runtime/files/data_error.h"
#include "runtime/files/text_file.h"
#include "runtime/records/run_facts.h"

namespace smp::launch {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::streamoff kLogBytes = 8192;

Json json_in(const std::filesystem::path& file) {
    const auto text = runtime::read_text(file);
    if (!text) return {};
    return Json::parse(*text, nullptr, /*allow_exceptions=*/false);
}

/// "parallel.microbatches" and "8", for each entry of each section.
std::vector<std::pair<std::string, std::string>> keys_of(const Json& config) {
    std::vector<std::pair<std::string, std::string>> keys;
    for (const auto& [section, entries] : config.items()) {
        if (!entries.is_object()) continue;
        for (const auto& [key, value] : entries.items())
            keys.emplace_back(fmt::format("{}.{}", section, key),
                              value.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    return keys;
}

std::pair<std::vector<NamedBytes>, std::int64_t> bytes_of(const Json& json) {
    std::vector<NamedBytes> bytes;
    std::int64_t peak = 0;
    for (const auto& [name, value] : json.items()) {
        if (name == "peak")
            peak = value.get<std::int64_t>();
        else
            bytes.push_back({name, value.get<std::int64_t>()});
    }
    return {bytes, peak};
}

/// Throws what nlohmann does for what is no such file.
void take_facts(const Json& facts, RunFolder& run) {
    run.state = facts.at("state").get<std::string>();
    facts.at("settings").get_to(run.settings);
    facts.at("warnings").get_to(run.warnings);
    facts.at("notes").get_to(run.notes);
    facts.at("advice").get_to(run.advice);
    for (const Json& entry : facts.at("memory")) {
        StageMemory memory{.stage = entry.at("stage").get<int>(), .predicted = {}, .measured = {}};
        std::tie(memory.predicted, memory.predicted_peak) = bytes_of(entry.at("predicted"));
        if (entry.contains("measured")) std::tie(memory.measured, memory.measured_peak) = bytes_of(entry["measured"]);
        run.memory.push_back(std::move(memory));
    }
    for (const Json& sample : facts.at("samples"))
        run.samples.emplace_back(sample.at("step").get<std::int64_t>(), sample.at("text").get<std::string>());
}

/// Whole lines from the end.
std::string end_of(const std::filesystem::path& log) {
    std::ifstream stream(log, std::ios::binary | std::ios::ate);
    const std::streamoff size = stream ? static_cast<std::streamoff>(stream.tellg()) : 0;
    std::string text(static_cast<std::size_t>(std::min(size, kLogBytes)), '\0');
    stream.seekg(size - static_cast<std::streamoff>(text.size()));
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (size > kLogBytes) text.erase(0, text.find('\n') + 1);
    return text;
}

}  // namespace

RunFolder read_run(const std::filesystem::path& folder) {
    RunFolder run;
    run.path = folder;
    std::error_code error;
    if (!std::filesystem::exists(folder / "config.json", error) &&
        !std::filesystem::exists(folder / "metrics.jsonl", error))
        throw runtime::DataError(fmt::format(
            "{} holds no run: there is neither a config.json nor a metrics.jsonl; name the output directory of a "
            "training (smp_train --output)",
            folder.string()));
    const auto canonical = std::filesystem::weakly_canonical(folder, error);
    run.name = (canonical.has_filename() ? canonical : canonical.parent_path()).filename().string();
    run.metrics = read_metrics(folder / "metrics.jsonl");
    run.keys = keys_of(json_in(folder / "config.json"));
    run.log = end_of(folder / "log.txt");
    const auto remark = [&](const char* file, const std::exception& why) {
        run.remarks.push_back(fmt::format("{} is not shown: {}", file, why.what()));
    };
    try {
        if (const Json facts = json_in(folder / runtime::kRunFacts); !facts.is_null()) take_facts(facts, run);
    } catch (const std::exception& why) {
        remark(runtime::kRunFacts, why);
    }
    try {
        run.timelines = timelines_of(folder);
    } catch (const std::exception& why) {
        remark("the timeline", why);
    }
    return run;
}

}  // namespace smp::launch
