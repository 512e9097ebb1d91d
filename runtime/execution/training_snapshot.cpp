#include "runtime/execution/training_snapshot.h"

#include <cstdint>
#include <span>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "partition/job/problem.h"
#include "runtime/checkpoint/pieces.h"
#include "runtime/files/data_error.h"
#include "runtime/stage/held_values.h"

namespace smp::runtime {

namespace {

const at::Tensor& buffer_of(const RankTensors& tensors, Held held) {
    return held == Held::value ? tensors.stage.flat_values() : tensors.optimizer.state(held);
}

/// Refuses weights that no step could use. Moments may be infinite: their parameter then stands still.
void require_held(const Checkpoint& checkpoint, const Shard& shard, const at::Tensor& values, const at::Tensor& held) {
    const auto unheld = first_unheld(values, held);
    if (!unheld) return;
    std::int64_t element = 0;
    for (const ShardRun& run : runs_of(shard))
        if (const std::int64_t after = shard.place.begin + unheld->element - run.place; after >= 0 && after < run.count)
            element = run.global + after;
    const std::string found = fmt::format("\"{}\": {} has element {} of {}", checkpoint.path().string(), shard.tensor,
                                          element, described(*unheld, held));
    if (!unheld->is_finite)
        throw DataError(found + "; it was written by a run that had failed, and an earlier one may do");
    throw partition::ConfigError(
        partition::Problem{"", found + "; go on with parallel.bf16 or in fp32, as the run that wrote it did"});
}

/// Memory that is about to be filled, in large pages where the system has them: training waits for the copy, and most
/// of its time would go into a fault for every 4 KiB. Advice, which may be refused.
void advise_large_pages(std::vector<float>& values) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(values.data()) / page * page;
    const auto end = reinterpret_cast<std::uintptr_t>(values.data() + values.capacity());
    (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace

Snapshot take_snapshot(const RankTensors& tensors, const TrainingState& state, const std::string& configuration) {
    Snapshot snapshot;
    snapshot.manifest.state = state;
    snapshot.manifest.plan = fmt::format("{:016x}", partition::hash_of(tensors.plan));
    snapshot.manifest.configuration = configuration;
    snapshot.manifest.tensors = tensors_of(tensors.model);
    const auto shards = written_shards(tensors.plan, tensors.model, tensors.stage.precision(), tensors.rank);
    std::size_t elements = 0;
    for (const Shard& shard : shards)
        for (const ShardRun& run : runs_of(shard)) elements += static_cast<std::size_t>(run.count);
    snapshot.values.reserve(elements);
    advise_large_pages(snapshot.values);
    for (const Shard& shard : shards) {
        snapshot.pieces.push_back(piece_of(shard));
        const at::Tensor here = buffer_of(tensors, shard.kind).narrow(0, shard.place.begin, shard.place.size()).cpu();
        const auto* values = here.const_data_ptr<float>();
        for (const ShardRun& run : runs_of(shard)) {
            const auto* first = values + run.place - shard.place.begin;
            snapshot.values.insert(snapshot.values.end(), first, first + run.count);
        }
    }
    return snapshot;
}

void restore(const RankTensors& tensors, Checkpoint& checkpoint) {
    for (const Shard& shard : holdings(tensors.plan, tensors.model, tensors.stage.precision(), tensors.rank)) {
        const at::Tensor values = at::zeros({shard.place.size()}, at::kFloat);
        for (const ShardRun& run : runs_of(shard))
            checkpoint.read(
                shard.tensor, kind_of(shard.kind), run.global,
                {values.data_ptr<float>() + run.place - shard.place.begin, static_cast<std::size_t>(run.count)});
        const at::Tensor held = buffer_of(tensors, shard.kind).narrow(0, shard.place.begin, shard.place.size());
        held.copy_(values);
        if (kind_of(shard.kind) == StateKind::weight) require_held(checkpoint, shard, values, held);
    }
}

}  // namespace smp::runtime
