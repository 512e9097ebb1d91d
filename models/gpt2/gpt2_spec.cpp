#include "models/gpt2/gpt2_spec.h"

#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/gpt2/gpt2_parameters.h"
#include "models/gpt2/gpt2_passes.h"
#include "models/gpt2/gpt2_stash.h"
#include "models/gpt2/gpt2_work.h"
#include "models/gpt2/hugging_face.h"
#include "models/gpt2/options_text.h"
#include "models/kernels/cuda/device_kernels.h"

namespace smp::models {
namespace {

/// "1, 2 or 4": the tensor degrees that a model allows, the smallest ones of many.
std::string common_divisors(std::int64_t a, std::int64_t b) {
    const std::int64_t most = std::gcd(a, b);
    std::vector<std::int64_t> divisors;
    for (std::int64_t d = 1; d <= most && divisors.size() < 12; ++d)
        if (most % d == 0) divisors.push_back(d);
    if (divisors.size() == 1) return "1";
    return fmt::format("{} or {}", fmt::join(divisors.begin(), divisors.end() - 1, ", "), divisors.back());
}

}  // namespace

std::string Gpt2::description() const {
    const auto counted = [](std::int64_t n, const char* what) {
        return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
    };
    return fmt::format("{}, {} wide, {}, vocabulary {}", counted(options_.n_layer, "layer"), options_.n_embd,
                       counted(options_.n_head, "head"), options_.vocab_size);
}

std::string Gpt2::canonical_text() const { return gpt2_text(options_); }

partition::OptionChecks Gpt2::checks() const {
    partition::OptionChecks checks("model");
    check(options_, checks);
    return checks;
}

void Gpt2::check_layout(const partition::ParallelOptions& parallel, partition::OptionChecks& checks) const {
    const int tensor = parallel.tensor_parallel_degree;
    const std::int64_t heads = options_.n_head, inner = inner_width(options_);
    if (heads >= 1 && inner >= 1 && (heads % tensor != 0 || inner % tensor != 0)) {
        checks.conflict(
            "parallel.tensor_parallel_degree", tensor,
            fmt::format("must divide model.n_head, which is {}, and the width of the MLP (model.n_inner), which is {}",
                        heads, inner),
            fmt::format("choose {}", common_divisors(heads, inner)));
    }
}

void Gpt2::check_share(const MicrobatchShare& share, partition::OptionChecks& checks) const {
    namespace cuda = kernels::cuda;
    if (!share.storage.on_cuda) return;
    const std::string on_cpus = "compute on CPUs (cluster.device = \"cpu\")";
    if (const std::int64_t width = head_width(options_); width > cuda::kWidestHead) {
        checks.conflict("model.n_head", options_.n_head,
                        fmt::format("cuts model.n_embd = {} into heads of {} columns, and attention on CUDA "
                                    "(cluster.device) takes up to {}",
                                    options_.n_embd, width, cuda::kWidestHead),
                        fmt::format("raise it to {} or more, or {}",
                                    (options_.n_embd + cuda::kWidestHead - 1) / cuda::kWidestHead, on_cpus));
    }
    if (const std::int64_t heads = options_.n_head / share.tensor_degree; heads > cuda::kMostInGrid) {
        checks.conflict("model.n_head", options_.n_head,
                        fmt::format("leaves {} heads to a rank, and attention on CUDA (cluster.device) takes up to {}",
                                    heads, cuda::kMostInGrid),
                        "lower it, raise parallel.tensor_parallel_degree, or " + on_cpus);
    }
    if (share.sequences > cuda::kMostInGrid) {
        checks.conflict("cluster.device", std::string("cuda"),
                        fmt::format("attention there takes microbatches of up to {} sequences, and these have {}",
                                    cuda::kMostInGrid, share.sequences),
                        "raise parallel.microbatches, lower the batch, or " + on_cpus);
    }
}

int Gpt2::module_count() const { return gpt2_module_count(options_); }

std::string Gpt2::module_name(int module) const { return gpt2_module_name(options_, module); }

std::vector<Parameter> Gpt2::parameters(int module, int tensor_degree, int tensor_rank) const {
    return gpt2_module_parameters(options_, module, tensor_degree, tensor_rank);
}

std::vector<StashEntry> Gpt2::stash(int module, const MicrobatchShare& share) const {
    return gpt2_stash(options_, module, share);
}

ModuleWork Gpt2::work(int module, const MicrobatchShare& share) const { return gpt2_work(options_, module, share); }

partition::ModulePasses Gpt2::passes(int module, const MicrobatchShare& share) const {
    return gpt2_passes(options_, module, share);
}

std::vector<std::string> Gpt2::names_in_files(const std::string& parameter) const {
    return {"transformer." + parameter, parameter};
}

StrayTensor Gpt2::meaning_of(const std::string& tensor) const { return gpt2_meaning_of(tensor); }

std::vector<std::string> Gpt2::disagreements(const std::string& config_json) const {
    return gpt2_disagreements(options_, config_json);
}

}  // namespace smp::models
