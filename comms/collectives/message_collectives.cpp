#include "comms/collectives/message_collectives.h"

#include <cstring>
#include <functional>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "comms/collectives/arguments.h"
#include "comms/collectives/rank_order_sum.h"
#include "comms/collectives/reduction_pieces.h"

namespace smp::comms {

namespace {

// Below, latency counts more than bytes: two rounds cost more than sending everything to everybody.
constexpr std::int64_t kShortBytes = 32 << 10;

/// Rounds of messages with steps between them.
class RoundsOperation final : public Operation {
  public:
    using Step = std::function<void(MessageRound&)>;

    RoundsOperation(MessageGroup messages, std::string what, std::vector<Step> steps)
        : round_(std::move(messages.round)),
          what_(std::move(what)),
          group_(messages.group.name()),
          steps_(std::move(steps)) {}

    bool advance() override {
        while (round_->test()) {
            if (next_ == steps_.size()) return true;
            steps_[next_++](*round_);
        }
        return false;
    }
    std::string describe() const override {
        return fmt::format("{} in '{}', still waiting for {}", what_, group_, listed(round_->pending()));
    }
    std::vector<int> awaited() const override { return round_->pending(); }

  private:
    std::unique_ptr<MessageRound> round_;
    std::string what_, group_;
    std::vector<Step> steps_;
    std::size_t next_ = 0;
};

std::string named(const char* operation, const at::Tensor& input) {
    return fmt::format("{} of {} bytes", operation, input.nbytes());
}

/// Bytes [begin, end) of a tensor.
struct Run {
    std::byte* data;
    std::int64_t bytes;
};
Run run_of(const at::Tensor& tensor, Piece piece) {
    const auto size = static_cast<std::int64_t>(tensor.element_size());
    return {static_cast<std::byte*>(tensor.data_ptr()) + piece.begin * size, piece.numel() * size};
}
Piece equal_piece(std::int64_t piece, int rank) { return {rank * piece, (rank + 1) * piece}; }

void send_run(MessageRound& round, Run run, int peer, std::int64_t tag) {
    if (run.bytes > 0) round.send(run.data, run.bytes, peer, tag);
}
void receive_run(MessageRound& round, Run run, int peer, std::int64_t tag) {
    if (run.bytes > 0) round.receive(run.data, run.bytes, peer, tag);
}
void copy_run(Run to, Run from) {
    if (to.bytes > 0 && to.data != from.data) std::memcpy(to.data, from.data, to.bytes);
}

/// Calls `exchange(peer)` for all others, each rank beginning with the next one, so that not all send to rank 0 at
/// first.
template <typename Exchange>
void with_each_peer(int ranks, int rank, Exchange exchange) {
    for (int step = 1; step < ranks; ++step) exchange((rank + step) % ranks);
}

/// terms[rank] of every rank, the own one among them, into `output`; by the threads of this rank.
void combine(Reduction reduction, const std::vector<at::Tensor>& terms, const at::Tensor& output) {
    constexpr std::int64_t kGrain = 1 << 16;
    at::parallel_for(0, output.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<at::Tensor> parts;
        for (const at::Tensor& term : terms) parts.push_back(view_of(term, {begin, end}));
        const at::Tensor part = view_of(output, {begin, end});
        combine_in_rank_order(reduction, parts, std::span(&part, 1));
    });
}

/// One round in which this rank collects piece `own` of everybody's `input` (peer p's arrives in terms[p]) and gives
/// piece p to peer p.
void exchange_pieces(MessageRound& round, const std::vector<at::Tensor>& terms, const at::Tensor& input,
                     const std::vector<Piece>& pieces, int rank, std::int64_t tag) {
    with_each_peer(static_cast<int>(pieces.size()), rank, [&](int peer) {
        receive_run(round, run_of(terms[peer], {0, terms[peer].numel()}), peer, tag);
        send_run(round, run_of(input, pieces[peer]), peer, tag);
    });
}

}  // namespace

std::shared_ptr<Operation> barrier_by_messages(MessageGroup messages) {
    // Dissemination: after round k a rank knows that the 2^(k+1) ranks before it have come.
    const int ranks = messages.group.size(), rank = messages.group.rank();
    const std::int64_t tag = messages.number * kTagsEach;
    std::vector<RoundsOperation::Step> steps;
    for (int distance = 1; distance < ranks; distance *= 2) {
        steps.emplace_back([=](MessageRound& round) {
            round.receive(nullptr, 0, (rank + ranks - distance) % ranks, tag);
            round.send(nullptr, 0, (rank + distance) % ranks, tag);
        });
    }
    return std::make_shared<RoundsOperation>(std::move(messages), "barrier", std::move(steps));
}

std::shared_ptr<Operation> all_gather_by_messages(MessageGroup messages, const at::Tensor& output,
                                                  const at::Tensor& input) {
    const int ranks = messages.group.size(), rank = messages.group.rank();
    const std::int64_t tag = messages.number * kTagsEach, piece = input.numel();
    const auto exchange = [=](MessageRound& round) {
        with_each_peer(ranks, rank, [&](int peer) {
            receive_run(round, run_of(output, equal_piece(piece, peer)), peer, tag);
            send_run(round, run_of(input, {0, piece}), peer, tag);
        });
        copy_run(run_of(output, equal_piece(piece, rank)), run_of(input, {0, piece}));
    };
    return std::make_shared<RoundsOperation>(std::move(messages), named("all_gather", input),
                                             std::vector<RoundsOperation::Step>{exchange});
}

std::shared_ptr<Operation> all_to_all_by_messages(MessageGroup messages, const at::Tensor& output,
                                                  const at::Tensor& input) {
    const int ranks = messages.group.size(), rank = messages.group.rank();
    const std::int64_t tag = messages.number * kTagsEach, piece = input.numel() / ranks;
    const auto exchange = [=](MessageRound& round) {
        with_each_peer(ranks, rank, [&](int peer) {
            receive_run(round, run_of(output, equal_piece(piece, peer)), peer, tag);
            send_run(round, run_of(input, equal_piece(piece, peer)), peer, tag);
        });
        copy_run(run_of(output, equal_piece(piece, rank)), run_of(input, equal_piece(piece, rank)));
    };
    return std::make_shared<RoundsOperation>(std::move(messages), named("all_to_all", input),
                                             std::vector<RoundsOperation::Step>{exchange});
}

std::shared_ptr<Operation> broadcast_by_messages(MessageGroup messages, const at::Tensor& tensor, int root) {
    // A binomial tree over the ranks counted from the root: the parent lacks the lowest set bit.
    const int ranks = messages.group.size(), position = (messages.group.rank() - root + ranks) % ranks;
    const std::int64_t tag = messages.number * kTagsEach;
    const int lowest_bit = position & -position;
    std::vector<RoundsOperation::Step> steps;
    const auto everything = run_of(tensor, {0, tensor.numel()});
    if (position > 0) {
        steps.emplace_back([=](MessageRound& round) {
            receive_run(round, everything, ((position - lowest_bit) + root) % ranks, tag);
        });
    }
    steps.emplace_back([=, keep = tensor](MessageRound& round) {
        for (int bit = 1; bit < ranks && (position == 0 || bit < lowest_bit); bit *= 2)
            if (position + bit < ranks) send_run(round, everything, (position + bit + root) % ranks, tag);
    });
    return std::make_shared<RoundsOperation>(std::move(messages), named("broadcast", tensor), std::move(steps));
}

std::shared_ptr<Operation> reduce_by_messages(MessageGroup messages, const ReduceRequest& request) {
    const int ranks = messages.group.size(), rank = messages.group.rank();
    const std::int64_t tag = messages.number * kTagsEach;
    const bool everywhere = request.result == ReduceRequest::Result::everywhere;
    const at::Tensor& input = request.input;
    const ReductionPieces made = pieces_of_reduction(request, ranks, rank, kShortBytes);

    std::vector<RoundsOperation::Step> steps;
    steps.emplace_back([=](MessageRound& round) { exchange_pieces(round, made.terms, input, made.pieces, rank, tag); });
    // Only now, with the own sends complete too, may the tensor that they came from be written.
    steps.emplace_back([=, reduction = request.reduction](MessageRound& round) {
        combine(reduction, made.terms, made.own);
        if (!everywhere || made.all_at_once) return;
        with_each_peer(ranks, rank, [&](int peer) {
            receive_run(round, run_of(input, made.pieces[peer]), peer, tag + 1);
            send_run(round, run_of(input, made.pieces[rank]), peer, tag + 1);
        });
    });
    return std::make_shared<RoundsOperation>(
        std::move(messages), named(everywhere ? "all_reduce" : "reduce_scatter", input), std::move(steps));
}

}  // namespace smp::comms
