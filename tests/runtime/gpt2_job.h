// Jobs of tests train GPT-2: its options, as a job's model is changed by.
#pragma once

#include <functional>

#include "models/gpt2/gpt2.h"
#include "models/gpt2/gpt2_spec.h"
#include "runtime/job/job.h"

namespace smp::testing {

/// Changes the options of a job's model, which is a GPT-2 (or none yet: then they start from the defaults).
inline void change_model(runtime::Job& job, const std::function<void(models::Gpt2Options&)>& change) {
    models::Gpt2Options options;
    if (job.model.spec) options = static_cast<const models::Gpt2&>(*job.model.spec).options();
    change(options);
    job.model = models::gpt2(options);
}

}  // namespace smp::testing
