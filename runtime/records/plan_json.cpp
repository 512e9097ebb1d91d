#include "runtime/records/plan_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace smp::runtime {

namespace {

using Json = nlohmann::ordered_json;

Json actions_of(const partition::RankProgram& program) {
    Json list = Json::array();
    for (const partition::Action& action : program.actions) {
        Json entry{{"action", partition::name_of(action)}};
        if (action.bytes != 0) entry["bytes"] = action.bytes;
        if (!action.waits.empty()) entry["waits"] = action.waits;
        if (!action.reads.empty()) entry["reads"] = action.reads;
        if (!action.writes.empty()) entry["writes"] = action.writes;
        if (!action.frees.empty()) entry["frees"] = action.frees;
        if (action.signals != partition::kNone) entry["signals"] = action.signals;
        list.push_back(std::move(entry));
    }
    return list;
}

Json programs_of(const partition::Programs& programs) {
    Json list = Json::array();
    for (const partition::RankProgram& program : programs)
        list.push_back(
            {{"buffers", program.buffers.size()}, {"events", program.events}, {"actions", actions_of(program)}});
    return list;
}

}  // namespace

std::string plan_to_json(const partition::Plan& plan, const std::vector<std::string>& module_names) {
    const partition::Degrees& degrees = plan.topology.degrees;
    Json chunks = Json::array();
    for (const partition::Chunk& chunk : plan.chunks)
        chunks.push_back({{"stage", chunk.stage},
                          {"modules", std::vector(module_names.begin() + chunk.first_module,
                                                  module_names.begin() + chunk.end_module)},
                          {"checkpointed_groups", chunk.groups.size()}});
    const Json json{
        {"version", 1},
        {"hash", fmt::format("{:016x}", partition::hash_of(plan))},
        {"degrees",
         {{"pipeline", degrees.pp}, {"tensor", degrees.tp}, {"reduced_data", degrees.rdp}, {"world", degrees.world()}}},
        {"placement", partition::placement_letters(plan.topology)},
        {"microbatches", plan.microbatches},
        {"active_microbatches", plan.active_microbatches},
        {"schedule", partition::word_of(plan.schedule)},
        {"virtual_pipeline_degree", static_cast<int>(plan.chunks.size()) / degrees.pp},
        {"chunks", chunks},
        {"training", programs_of(plan.training)},
        {"evaluation", programs_of(plan.evaluation)},
        {"sampling", programs_of(plan.sampling)},
    };
    return json.dump(1) + "\n";
}

}  // namespace smp::runtime
