// A plan as JSON, to and fro: plan.json, for people, tools and smp_plan --plan.
//
// {"version": 2, "hash": hash_of(plan), then the fields of Plan as its tables say (partition/job/fields.h), then
// "model": {"hash": hash_of(graph), the fields of ModuleGraph}}. An action or buffer is a line; fields of their usual
// values are left out. A buffer that is freed has its "lifetime": the positions of the first action that uses it and of
// the one that frees it.
#pragma once

#include <filesystem>
#include <istream>
#include <string>

#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/records/fields_to_json.h"

namespace smp::runtime {

/// A plan and the costs that it was made from, which time and memory are predicted from.
struct SavedPlan {
    partition::Plan plan;
    partition::ModuleGraph graph;

    bool operator==(const SavedPlan&) const = default;
};

enum class PlanPart {
    all,
    head,  // without the programs and the model: what a person compares
};

/// Equal plans give equal text, which ends without a new line. `depth`: by how many columns lines are indented, as
/// inside another object.
void write_plan(const partition::Plan& plan, const partition::ModuleGraph& graph, const TextSink& write,
                PlanPart part = PlanPart::all, int depth = 0);

/// The whole file.
std::string plan_to_json(const partition::Plan& plan, const partition::ModuleGraph& graph);

/// What write_plan has written. The plan is as it was, and has its hash, but nothing is proven of it
/// (partition::check). Throws DataError, which begins with `origin`: as read_json does; for another version; for
/// content that does not have the hash that stands there; for a lifetime that is not what the actions say. Linear in
/// the text.
SavedPlan plan_from_json(std::istream& text, const std::string& origin);

/// The same of a file. Throws DataError too if it cannot be read.
SavedPlan read_plan(const std::filesystem::path& file);

}  // namespace smp::runtime
