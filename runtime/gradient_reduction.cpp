#include "runtime/gradient_reduction.h"

#include <deque>
#include <utility>

namespace smp::runtime {

namespace {

constexpr std::size_t kInFlight =
    2;  // buckets: one moves while the next is being added up, and no more scratch memory than that

/// Starts `begin(bucket, own piece)` for every bucket with a bounded number in flight.
template <typename Begin>
void over_buckets(const comms::Communicator& group, const FlatLayout& layout, const at::Tensor& flat, Begin begin) {
    if (group.size() == 1) return;
    const auto pieces = layout.owned(group.rank());
    std::deque<comms::Work> in_flight;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        if (in_flight.size() == kInFlight) {
            in_flight.front().wait();
            in_flight.pop_front();
        }
        in_flight.push_back(begin(flat.narrow(0, layout.buckets[i].begin, layout.buckets[i].size()),
                                  flat.narrow(0, pieces[i].begin, pieces[i].size())));
    }
    for (comms::Work& work : in_flight) work.wait();
}

}  // namespace

void reduce_scatter_gradients(comms::Communicator& group, const FlatLayout& layout, const at::Tensor& gradients) {
    over_buckets(group, layout, gradients, [&](const at::Tensor& bucket, const at::Tensor& piece) {
        return comms::reduce_scatter(group, piece, bucket);
    });
}

void all_gather_pieces(comms::Communicator& group, const FlatLayout& layout, const at::Tensor& flat) {
    over_buckets(group, layout, flat,
                 [&](const at::Tensor& bucket, const at::Tensor& piece) { return group.all_gather(bucket, piece); });
}

}  // namespace smp::runtime
