#include "comms/backends/local_exchange.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include "comms/collectives/rank_order_sum.h"

namespace smp::comms {

namespace {

// Small enough that two ranks share a tensor of a few hundred KiB fairly, large enough that taking a part costs
// nothing.
constexpr std::int64_t kPartBytes = 64 << 10;

}  // namespace

void Bell::ring() {
    rings_.fetch_add(1);
    if (!asleep_.load()) return;  // it will see the count before it sleeps: both are sequentially consistent
    { std::lock_guard lock(mutex_); }
    woken_.notify_one();
}

void Bell::wait(std::uint64_t seen, Clock::duration patience, Clock::time_point until) {
    if (patience > Clock::duration::zero()) {
        const Clock::time_point stop = std::min(Clock::now() + patience, until);
        while (rings_.load() == seen && Clock::now() < stop) {}
    }
    std::unique_lock lock(mutex_);
    asleep_.store(true);
    if (rings_.load() == seen) {
        if (until == Clock::time_point::max())
            woken_.wait(lock, [&] { return rings_.load() != seen; });
        else
            woken_.wait_until(lock, until, [&] { return rings_.load() != seen; });
    }
    asleep_.store(false);
}

Meeting::Meeting(int ranks, const Call& call)
    : call_(call), outputs_(ranks), inputs_(ranks), came_(ranks), missing_(ranks) {}

bool Meeting::join(int rank, at::Tensor output, at::Tensor input) {
    outputs_[rank] = std::move(output);
    inputs_[rank] = std::move(input);
    came_[rank] = true;
    if (--missing_ > 0) return false;
    cut();
    if (parts_ == 0) finish();
    here_.store(true, std::memory_order_release);
    return true;
}

void Meeting::cut() {
    const auto ranks = static_cast<std::int64_t>(inputs_.size());
    std::int64_t runs = 1;
    piece_ = call_.numel;
    switch (call_.kind) {
        case Kind::barrier: return;
        case Kind::all_gather: runs = ranks * ranks; break;
        case Kind::all_to_all: piece_ /= ranks, runs = ranks * ranks; break;
        case Kind::broadcast: runs = ranks; break;
        case Kind::all_reduce: break;
        case Kind::reduce_scatter: piece_ /= ranks, runs = ranks; break;
    }
    if (piece_ == 0) return;
    // On other devices a launch costs more than balance gains.
    const auto bytes = static_cast<std::int64_t>(c10::elementSize(call_.dtype));
    chunk_ = inputs_.front().is_cpu() ? std::min(piece_, kPartBytes / bytes) : piece_;
    chunks_ = (piece_ + chunk_ - 1) / chunk_;
    parts_ = runs * chunks_;
}

bool Meeting::work() {
    while (next_.load(std::memory_order_relaxed) < parts_) {
        const std::int64_t part = next_.fetch_add(1, std::memory_order_relaxed);
        if (part >= parts_) break;
        perform(part);
        if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 < parts_) continue;
        finish();
        return true;
    }
    return false;
}

void Meeting::finish() {
    for (at::Tensor& output : outputs_) output.reset();  // a rank that looks late holds nobody's memory
    for (at::Tensor& input : inputs_) input.reset();
    complete_.store(true, std::memory_order_release);
}

void Meeting::perform(std::int64_t part) {
    const int ranks = static_cast<int>(inputs_.size());
    const std::int64_t run = part / chunks_, chunk = part % chunks_;
    const int to =
        static_cast<int>(call_.kind == Kind::all_gather || call_.kind == Kind::all_to_all ? run / ranks : run);
    const int from = static_cast<int>(run % ranks);
    switch (call_.kind) {
        case Kind::barrier: return;
        case Kind::all_gather: return copy(to, from * piece_, from, 0, chunk);
        case Kind::all_to_all: return copy(to, from * piece_, from, to * piece_, chunk);
        case Kind::broadcast:
            if (to != call_.root) copy(to, 0, call_.root, 0, chunk);
            return;
        case Kind::all_reduce:
        case Kind::reduce_scatter: break;
    }
    const bool everywhere = call_.kind == Kind::all_reduce;
    const std::int64_t begin = chunk * chunk_, end = std::min(piece_, begin + chunk_),
                       start = everywhere ? 0 : to * piece_;
    if (!inputs_.front().is_cpu())
        return combine_on_device(everywhere ? -1 : to, {start + begin, start + end}, {begin, end});
    const auto bytes = static_cast<std::int64_t>(c10::elementSize(call_.dtype));
    std::vector<const void*> terms;
    std::vector<void*> sums;
    for (const at::Tensor& input : inputs_)
        terms.push_back(static_cast<const std::byte*>(input.const_data_ptr()) + (start + begin) * bytes);
    for (int rank = everywhere ? 0 : to; rank < (everywhere ? ranks : to + 1); ++rank)
        sums.push_back(static_cast<std::byte*>(outputs_[rank].data_ptr()) + begin * bytes);
    combine_on_cpu(call_.reduction, call_.dtype, terms, sums, end - begin);
}

void Meeting::combine_on_device(int only, Piece from, Piece to) const {
    const int first = std::max(only, 0), end = only < 0 ? static_cast<int>(outputs_.size()) : only + 1;
    const c10::DeviceGuard guard(outputs_[first].device());
    std::vector<at::Tensor> terms, sums;
    for (const at::Tensor& input : inputs_) terms.push_back(view_of(input, from));
    for (int rank = first; rank < end; ++rank) sums.push_back(view_of(outputs_[rank], to));
    combine_in_rank_order(call_.reduction, terms, sums);
    for (const at::Tensor& sum : sums) finish_stream(sum);
}

void Meeting::copy(int to, std::int64_t to_begin, int from, std::int64_t from_begin, std::int64_t chunk) const {
    const std::int64_t begin = chunk * chunk_, count = std::min(chunk_, piece_ - begin);
    const at::Tensor &output = outputs_[to], &input = inputs_[from];
    if (output.is_cpu() && input.is_cpu()) {
        const auto bytes = static_cast<std::int64_t>(c10::elementSize(call_.dtype));
        auto* target = static_cast<std::byte*>(output.data_ptr()) + (to_begin + begin) * bytes;
        const auto* source = static_cast<const std::byte*>(input.const_data_ptr()) + (from_begin + begin) * bytes;
        if (target != source) std::memcpy(target, source, count * bytes);
        return;
    }
    copy_now(view_of(output, {to_begin + begin, to_begin + begin + count}),
             view_of(input, {from_begin + begin, from_begin + begin + count}));
}

std::vector<int> Meeting::absent() const {
    std::vector<int> ranks;
    for (std::size_t rank = 0; rank < came_.size(); ++rank)
        if (!came_[rank]) ranks.push_back(static_cast<int>(rank));
    return ranks;
}

Exchange::Exchange(int ranks) {
    for (int rank = 0; rank < ranks; ++rank) {
        bells.push_back(std::make_unique<Bell>());
        boxes.push_back(std::make_unique<Box>());
    }
    // Looking around is worth it only where nobody else wants the processor.
    patience = ranks <= static_cast<int>(std::thread::hardware_concurrency()) ? std::chrono::microseconds(50)
                                                                              : Clock::duration::zero();
}

void Exchange::fail(int world_rank, const std::string& why) {
    {
        std::lock_guard lock(mutex);
        if (failed_rank.load() >= 0) return;
        reason = why;
        failed_rank.store(world_rank);
    }
    for (const auto& bell : bells) bell->ring();
}

LocalGroup::LocalGroup(std::shared_ptr<Exchange> shared, std::vector<int> ranks)
    : exchange(std::move(shared)), world_ranks(std::move(ranks)), channels(world_ranks.size() * world_ranks.size()) {}

void LocalGroup::ring_all() const {
    for (const int rank : world_ranks) exchange->ring(rank);
}

void finish_stream(const at::Tensor& tensor) {
    if (tensor.is_cpu()) return;
    const c10::impl::VirtualGuardImpl device(tensor.device().type());
    device.getStream(tensor.device()).synchronize();
}

void copy_now(const at::Tensor& to, const at::Tensor& from) {
    if (to.nbytes() == 0 || to.const_data_ptr() == from.const_data_ptr()) return;
    if (to.is_cpu() && from.is_cpu()) {
        std::memcpy(to.data_ptr(), from.const_data_ptr(), to.nbytes());
        return;
    }
    const auto bytes = [](const at::Tensor& tensor) { return tensor.view({-1}).view(at::kByte); };
    bytes(to).copy_(bytes(from));
    finish_stream(to);
    finish_stream(from);
}

}  // namespace smp::comms
