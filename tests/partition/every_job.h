// All pipelines of given sizes: schedules, active microbatches, chunks, tied or not.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/partition/small_jobs.h"

namespace smp::partition::testing {

inline std::string text_of(const Job& job) {
    return fmt::format("{} stages of {} chunks, {} microbatches, K {}, {}, {}", job.stages, job.chunks_per_stage,
                       job.microbatches, job.active.value_or(0), word_of(job.schedule), job.tied ? "tied" : "untied");
}

/// Each schedule that takes it with the least, about as many as stages, and the most active microbatches.
inline std::vector<Job> every_job(const std::vector<int>& stages, const std::vector<int>& microbatches,
                                  int most_chunks) {
    std::vector<Job> jobs;
    for (const int p : stages) {
        for (const int m : microbatches) {
            for (const bool tied : {false, true}) {
                Job job{.stages = p,
                        .microbatches = m,
                        .schedule = PipelineSchedule::simple,
                        .tied = tied,
                        .evaluation_microbatches = m};
                jobs.push_back(job);
                for (const int active : std::set<int>{1, std::min(m, p), std::min(m, p + 2), m}) {
                    job.active = active;
                    for (const auto schedule : {PipelineSchedule::interleaved, PipelineSchedule::zero_bubble}) {
                        job.schedule = schedule;
                        jobs.push_back(job);
                    }
                }
                job.schedule = PipelineSchedule::interleaved;
                for (job.chunks_per_stage = 2; job.chunks_per_stage <= most_chunks; ++job.chunks_per_stage) {
                    for (const int active : std::set<int>{std::min(m, 2 * p), m}) {
                        job.active = active;
                        jobs.push_back(job);
                    }
                }
            }
        }
    }
    return jobs;
}

}  // namespace smp::partition::testing
