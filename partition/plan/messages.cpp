#include "partition/plan/messages.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "partition/plan/lowering.h"

namespace smp::partition {
namespace {

class MessageBuilder {
  public:
    MessageBuilder(const ModuleGraph& graph, const Chunks& chunks, const ComputeOrders& orders, int microbatches,
                   const LoweringOptions& options)
        : graph_(graph),
          chunks_(chunks),
          orders_(orders),
          microbatches_(microbatches),
          options_(options),
          precedence_(orders, placement_of(chunks, static_cast<int>(orders.size())), microbatches) {}

    std::vector<Message> build() {
        for (const ChunkId c : chunks_.ids()) {
            if (c == chunks_.last_id() || chunks_[c].stage == chunks_[c + 1].stage) continue;
            for (const MicrobatchId microbatch : first_ids<MicrobatchId>(microbatches_)) {
                add_boundary(Channel::activations, microbatch, c, c + 1);
                if (options_.training) add_boundary(Channel::gradients, microbatch, c + 1, c);
            }
        }
        if (options_.training) add_tied();

        std::sort(messages_.begin(), messages_.end(), [](const Message& a, const Message& b) {
            const auto key = [](const Message& m) {
                return std::tuple(m.channel, m.from_stage, m.to_stage, m.made, m.shared, m.module);
            };
            return key(a) < key(b);
        });
        place_receives();
        place_waits_for_sends();
        return std::move(messages_);
    }

  private:
    int steps(StageId stage) const { return static_cast<int>(orders_[stage].size()); }
    const Chunk& chunk(ChunkId id) const { return chunks_[id]; }

    void add_boundary(Channel channel, MicrobatchId microbatch, ChunkId from_chunk, ChunkId to_chunk) {
        const ComputationKind kind =
            channel == Channel::activations ? ComputationKind::forward : ComputationKind::backward;
        const ChunkId boundary = std::min(from_chunk, to_chunk);
        messages_.push_back({.channel = channel,
                             .from_stage = chunk(from_chunk).stage,
                             .to_stage = chunk(to_chunk).stage,
                             .from_chunk = from_chunk,
                             .to_chunk = to_chunk,
                             .microbatch = microbatch,
                             .bytes = graph_.modules[chunk(boundary).end_module - 1].output_bytes,
                             .made = precedence_.position_of(kind, microbatch, from_chunk),
                             .used = precedence_.position_of(kind, microbatch, to_chunk)});
    }

    ChunkId chunk_of(int module) const {
        const auto holder = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& c) {
            return module >= c.first_module && module < c.end_module;
        });
        return ChunkId(holder - chunks_.begin());
    }

    void add_tied() {
        for (std::size_t s = 0; s < graph_.shared.size(); ++s) {
            const SharedParameter& shared = graph_.shared[s];
            std::map<StageId, ChunkId> chunk_on_stage;  // of the first copy there
            for (const int module : shared.modules)
                chunk_on_stage.emplace(chunk(chunk_of(module)).stage, chunk_of(module));
            for (const int module : shared.modules) {
                const ChunkId from_chunk = chunk_of(module);
                for (const auto& [to_stage, to_chunk] : chunk_on_stage) {
                    if (to_stage == chunk(from_chunk).stage) continue;
                    messages_.push_back({.channel = Channel::tied,
                                         .from_stage = chunk(from_chunk).stage,
                                         .to_stage = to_stage,
                                         .from_chunk = from_chunk,
                                         .to_chunk = to_chunk,
                                         .shared = static_cast<int>(s),
                                         .module = module,
                                         .bytes = kGradientBytes * shared.parameter_count,
                                         .made = precedence_.completed_at(MicrobatchId(microbatches_ - 1), from_chunk),
                                         .used = steps(to_stage)});
                }
            }
        }
    }

    void place_receives() {
        std::map<std::tuple<Channel, ChunkId>, std::vector<int>> used_before;  // by channel and receiving chunk
        Table<StageId, int> first_tied_send(orders_.size(), -1);
        for (const Message& m : messages_) {
            int& first = first_tied_send[m.from_stage];
            if (m.channel == Channel::tied && (first < 0 || m.made + 1 < first)) first = m.made + 1;
        }
        for (Message& m : messages_) {
            m.posted = precedence_.ended_before(m.from_stage, m.made, m.to_stage);
            if (m.channel == Channel::tied) {
                m.posted = std::min(std::max(m.posted, steps(m.to_stage) - 1), first_tied_send[m.to_stage]);
                continue;
            }
            auto& used = used_before[{m.channel, m.to_chunk}];
            const auto ahead = static_cast<std::size_t>(options_.receives_ahead);
            const bool bounded_by_order = options_.training && m.channel == Channel::activations;
            if (!bounded_by_order && used.size() >= ahead) m.posted = std::max(m.posted, used[used.size() - ahead] + 1);
            used.push_back(m.used);
        }
        // A message that follows another one of the same pair and channel is not posted before it.
        for (std::size_t i = messages_.size(); i-- > 1;) {
            Message& earlier = messages_[i - 1];
            const Message& later = messages_[i];
            const auto pair = [](const Message& m) { return std::tuple(m.channel, m.from_stage, m.to_stage); };
            if (pair(earlier) == pair(later)) earlier.posted = std::min(earlier.posted, later.posted);
        }
    }

    void place_waits_for_sends() {
        for (std::size_t i = 0; i < messages_.size(); ++i) {
            Message& m = messages_[i];
            m.left = steps(m.from_stage);
            if (m.channel == Channel::tied) continue;
            // The first own step behind the send that comes after the use in every execution: ended_before only rises.
            int low = m.made + 1, high = steps(m.from_stage);
            while (low < high) {
                const int middle = low + (high - low) / 2;
                if (precedence_.ended_before(m.from_stage, middle, m.to_stage) > m.used) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            m.left = low;
            if (!options_.training) {
                const std::size_t later = i + static_cast<std::size_t>(options_.receives_ahead);
                if (later < messages_.size() && messages_[later].from_stage == m.from_stage &&
                    messages_[later].to_stage == m.to_stage) {
                    m.left = std::min(m.left, messages_[later].made);
                }
            }
        }
    }

    const ModuleGraph& graph_;
    const Chunks& chunks_;
    const ComputeOrders& orders_;
    int microbatches_;
    const LoweringOptions& options_;
    Precedence precedence_;
    std::vector<Message> messages_;
};

}  // namespace

std::vector<Message> messages_of(const ModuleGraph& graph, const Chunks& chunks, const ComputeOrders& orders,
                                 int microbatches, const LoweringOptions& options) {
    return MessageBuilder(graph, chunks, orders, microbatches, options).build();
}

}  // namespace smp::partition
