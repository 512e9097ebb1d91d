// What a job must be to be trained: the rules of its sections, and those between sections, which no section can see
// alone. A Trainer refuses what breaks them, and the programs say it before, with file and line. No LibTorch.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "partition/job/option_checks.h"
#include "partition/job/problem.h"
#include "runtime/job/job.h"

namespace smp::runtime {

/// The rooms' own checks of their sections, one element a section.
std::vector<partition::OptionChecks> section_checks(const Job& job);

/// What the sections say against each other on any number of ranks: a model that tensor parallelism does
/// not divide, or tokens where it cuts those too, a sequence longer than the model takes, layers that cannot be
/// assigned to stages, evaluation without data, … Each message names all keys that it is about. A rule about a value
/// that its own section refuses says nothing useful, but does no harm.
std::vector<partition::Problem> validate_job(const Job& job);

/// All that is wrong with the job on any number of ranks: values outside their key's limit, then rules between keys.
/// Each thing once: a key outside its limit, or one of `unreadable`, makes no second problem in the rules that compare
/// it with others.
std::vector<partition::Problem> problems_of(const Job& job, std::set<std::string> unreadable = {});

/// Whether the model can be cut over so many tensor ranks.
bool takes_tensor_degree(const Job& job, int degree);

/// What speaks against running the job on `world` ranks: the layout does not fit, or the global batch does not divide.
/// Empty if it can.
std::vector<partition::Problem> validate_job_on(const Job& job, std::int64_t world);

/// Throws partition::ConfigError with problems_of(), or, where there are none, with validate_job_on(). `unused`: keys
/// that nobody will look at, so that nothing is wrong with them.
void require_valid(const Job& job, std::int64_t world, const std::set<std::string>& unused = {});

}  // namespace smp::runtime
