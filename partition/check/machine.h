// The abstract machine that plans are proven on, as strict as the strictest backend there is. Each stage issues its
// list in order and stops at a wait until the event has come. Posting never stops it. A message starts when both ends
// have posted it (rendezvous) and nothing is ahead of it on its communicator, on either rank: the operations of one
// communicator on a rank run one after another in the order of issue, as NCCL's do, and so do copies in one direction.
// Compute actions run one after another; a collective over the world needs all stages. Nothing else orders anything, so
// what comes to its end here does so on every backend: those stop at fewer places.
//
// A clock says when what can start does start and end: at once in the proof (check_end), at its time in the simulator.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "partition/plan/pairing.h"

namespace smp::partition {

using TransferId = Id<struct TransferKind>;

/// A message; or a collective over the data-parallel group or a copy, which have one end in these programs.
struct Transfer {
    Place send = {};     // or the only end
    Place receive = {};  // of a message
    bool is_message = false;
};

/// What ranks have for messages. One communicator a channel of a pipeline is what larger groups would be: plans that
/// need no more than that are few.
enum class Communicators { one_an_edge, one_a_channel };

class Machine {
  public:
    /// Told as things happen; answers with the machine's end_compute, let_go and end_transfer, at once or later.
    class Clock {
      public:
        virtual ~Clock() = default;
        /// A stage's list has come to the action, and all that it waits for has come.
        virtual void issued(Place here) = 0;
        /// It begins: a compute action, or one over the world once all stages have issued theirs.
        virtual void compute(Place here) = 0;
        /// It could begin: the communicators of its ends are free for it.
        virtual void transfer(TransferId transfer) = 0;
    };

    /// `programs` and `clock` must outlive the machine. Programs may be any whose form the checker accepts.
    Machine(const Programs& programs, Clock& clock, Communicators communicators = Communicators::one_an_edge);

    /// Issues all lists as far as they go.
    void begin();
    /// The stage's compute action has ended.
    void end_compute(StageId stage);
    /// What follows on the transfer's communicators may begin.
    void let_go(TransferId transfer);
    /// It has left and arrived. After let_go.
    void end_transfer(TransferId transfer);

    const Table<TransferId, Transfer>& transfers() const { return transfers_; }
    TransferId transfer_of(Place posted) const { return ends_[posted.stage][posted.position].transfer; }
    /// The action that a stage issues next, or that it computes; behind the last one at the end.
    ActionId next(StageId stage) const { return stages_[stage].next; }
    bool has_ended(StageId stage) const { return next(stage) == programs_[stage].actions.end_id(); }
    /// Whether its list has come to a place.
    bool is_posted(Place place) const { return place.position < next(place.stage); }

    /// Why a stage stopped for ever, in a sentence that names the two actions that hold each other up.
    std::string reason(StageId stage) const;

  private:
    using LaneId = Id<struct LaneKind>;
    /// The operations of one communicator on one rank, or its copies in one direction, in the order of issue.
    using Lane = std::deque<TransferId>;
    struct End {
        TransferId transfer = {};
        LaneId lane = {};
    };
    struct Stage {
        ActionId next{0};
        std::size_t waits_over = 0;  // of the next action
        bool is_busy = false;        // computes, or waits for the other stages
        bool is_issuing = false;
        Table<EventId, bool> has_come = {};
    };

    const Action& action(Place at) const { return programs_[at.stage].actions[at.position]; }
    void number_transfers();
    void assign_lanes(Communicators communicators);
    template <typename Do>
    void for_each_end(TransferId transfer, Do&& act);
    void issue(StageId stage);
    bool waits_are_over(StageId stage);
    void signal(Place at);
    void post(Place here);
    void come_first(TransferId transfer);
    std::string shown(Place place) const;

    const Programs& programs_;
    Clock& clock_;
    Table<StageId, Stage> stages_;
    Table<TransferId, Transfer> transfers_;
    Table<TransferId, int> ends_to_come_;  // first on their lanes
    Table<StageId, Table<ActionId, End>> ends_;
    Table<LaneId, Lane> lanes_;
    int in_world_ = 0;  // stages that have come to the collective over the world
};

}  // namespace smp::partition
