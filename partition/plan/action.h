// One entry of a rank's program. The runtime executes the list in order; checker and simulator read the same list.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "partition/job/fields.h"
#include "partition/job/ids.h"
#include "partition/job/module_graph.h"
#include "partition/job/words.h"
#include "partition/plan/action_kinds.h"

namespace smp::partition {

enum class BufferKind {
    activation_in,        // boundary tensor received from, or handed over by, the previous chunk
    checkpoint,           // boundary tensor between two groups of a chunk: the later one's input
    checkpoint_gradient,  // its gradient
    offloaded,            // a checkpointed input (activation_in or checkpoint) in host memory
    prefetched,           // the same on the device again
    activation_out,       // boundary tensor for the next chunk
    gradient_in,          // gradient of activation_out, from the next chunk
    gradient_out,         // gradient of activation_in, for the previous chunk
    stash,          // everything that a chunk (or a group) keeps from the forward to the backward of one microbatch
    deferred,       // the same from the input to the weight part of the backward
    logits,         // of some rows, alive only while the action that holds the head computes the loss
    tied_gradient,  // the own gradient of a shared parameter once the last microbatch is in it: a view into `gradients`
    tied_received,  // another copy's gradient of it
    gradients,      // a chunk's part of the flat gradient buffer of the rank
    parameters,     // a chunk's part of the flat parameter buffer of the rank
    scratch,        // what a computation makes besides and what stays of it, until it ends
    reduction_scratch,  // what reductions of gradients take beside them
};
template <>
struct Words<BufferKind> {
    static constexpr std::array<std::string_view, 17> list = {
        "activation_in",  "checkpoint",       "checkpoint_gradient", "offloaded", "prefetched",
        "activation_out", "gradient_in",      "gradient_out",        "stash",     "deferred",
        "logits",         "tied_gradient",    "tied_received",       "gradients", "parameters",
        "scratch",        "reduction_scratch"};
};

/// A piece of memory of one rank with a beginning and an end inside one step: from the action that writes it first to
/// the one that frees it. `gradients` and `parameters` exist before the step, outlive it and are never freed.
///
/// activation_in (not chunk 0): written by a receive; read by forward and backward; freed by backward, by forward in
///   a forward-only program.
/// activation_out (not the last chunk): written by forward; read and freed by a send.
/// stash (training): written by forward; consumed by backward.
/// gradient_in (not the last chunk): written by a receive; consumed by backward.
/// gradient_out (not chunk 0): written by backward; read and freed by a send.
/// deferred (split backward): written by backward_input; consumed by backward_weight.
/// logits: written and freed by the action that computes the loss (backward or its input part; forward where only
///   that runs).
/// tied_gradient: written by the last microbatch's backward; read by sends; read and freed by sum_tied_gradients.
/// tied_received: written by a receive; read and freed by sum_tied_gradients.
/// The gradient of a second copy of a shared parameter on one stage is no such view: it exists throughout, like
///   `gradients`.
/// gradients: read and written by backward, sum_tied_gradients, sum_row_gradients and reduce_gradients, those by
///   buckets; read by optimizer_step.
/// parameters: read by forward and backward; written by optimizer_step, and by gather_parameters where optimizer states
///   are sharded.
/// scratch: one for each kind of computation of a chunk or group, used by them all in turn, and one for each
///   sum_row_gradients. reduction_scratch: as many as reductions are under way at once, used by these in turn; there
///   throughout, like the flat buffers.
/// Where the backward is split, its input part does what is said of the backward here, but that it leaves
/// tied_gradient to the weight part, which adds to `gradients` too.
///
/// Where a chunk is recomputed in groups, forwards, recomputations and backwards are those of a group, and so are stash
/// and deferred. Group g reads its input: activation_in for the first, else its checkpoint, which the forward of group
/// g − 1 writes and the backward of g frees. No forward writes a stash: the recomputation does. The backward of g
/// writes the checkpoint's gradient, which the backward of g − 1 consumes.
///
/// Where a group's input is offloaded, an offload reads and frees it once the group's forward has read it, and writes
/// `offloaded`; a prefetch reads that and writes `prefetched`, which recomputation and backward of the group read in
/// place of the input, and the backward frees. `offloaded` is freed by the recomputation.
///
/// Where chunk i and i + 1 live on one stage nothing is sent: one buffer, activation_in of chunk i + 1, is written by
/// the forward of chunk i, and one, gradient_in of chunk i, by the backward of chunk i + 1.
struct Buffer {
    BufferKind kind;
    MicrobatchId microbatch = {};
    ChunkId chunk = {};
    int shared = -1;  // index into ModuleGraph::shared, for tied_*
    std::int64_t bytes = 0;
    GroupId group = {};  // of the chunk, where it is recomputed in groups, for what belongs to one
    int module = -1;     // index into ModuleGraph::modules, for tied_*: whose gradient it is

    bool operator==(const Buffer&) const = default;
};
template <>
struct Fields<Buffer> {
    static constexpr auto list =
        fields<Buffer>(stated("kind", &Buffer::kind), field("microbatch", &Buffer::microbatch),
                       field("chunk", &Buffer::chunk), field("group", &Buffer::group), field("shared", &Buffer::shared),
                       field("module", &Buffer::module), stated("bytes", &Buffer::bytes));
};

/// Buffers and events are those of one rank's program. The executor runs the list in order: for each
/// action it first waits for all of `waits`, then performs it. A compute action signals its event when it is done. An
/// action of another stream is posted, which never blocks; it signals its event when the message has left or arrived or
/// the collective or copy has ended, and whoever needs that lists the event in `waits`. `frees` happen after the
/// action; those of a posted one when its event has been waited for, so that what a rank holds at each place of its
/// list depends on no timing. An action has an event only if another, later one waits for it.
struct Action {
    ActionKind kind;
    MicrobatchId microbatch = {};
    ChunkId chunk = {};    // for send and receive: the own chunk that made or will use the tensor; for row sums,
                           // reductions and gatherings: whose
    StageId peer = {};     // for send and receive
    GroupId group = {};    // of the chunk, where it is recomputed in groups, for compute actions and copies
    BucketId bucket = {};  // of the chunk's section, for collectives over the data-parallel group; none: all of it
    Channel channel = Channel::none;
    Stream stream = Stream::compute;
    std::int64_t bytes = 0;  // that travel; 0 for local work
    Exchange tensor = {};    // with the tensor group, while a compute action runs
    std::vector<BufferId> reads = {}, writes = {};
    std::vector<BufferId> consumes = {};  // reads and lets go of piece by piece, while it makes what it writes
    std::vector<BufferId> scratch = {};   // has to itself while it runs
    std::vector<BufferId> frees = {};
    /// Of a computation or a sum over the tensor group: the most that it takes on the device, its scratch and what it
    /// writes included, beyond what is alive when it begins.
    std::int64_t growth_bytes = 0;
    std::vector<EventId> waits = {};
    EventId signals = {};

    bool operator==(const Action&) const = default;
};
template <>
struct Fields<Action> {
    static constexpr auto list = fields<Action>(
        stated("kind", &Action::kind), field("microbatch", &Action::microbatch), field("chunk", &Action::chunk),
        field("group", &Action::group), field("bucket", &Action::bucket), field("peer", &Action::peer),
        field("channel", &Action::channel), field("stream", &Action::stream), field("bytes", &Action::bytes),
        field("tensor", &Action::tensor), field("waits", &Action::waits), field("reads", &Action::reads),
        field("writes", &Action::writes), field("consumes", &Action::consumes), field("scratch", &Action::scratch),
        field("frees", &Action::frees), field("growth_bytes", &Action::growth_bytes),
        field("signals", &Action::signals));
};

/// What one pipeline rank does in one step. Ranks of equal pipeline position and any tensor or data position share it.
struct RankProgram {
    Table<BufferId, Buffer> buffers = {};
    /// Events are 0 … events − 1, each signalled by exactly one action and waited for by at least one later action.
    int events = 0;
    Table<ActionId, Action> actions = {};

    bool operator==(const RankProgram&) const = default;
};
template <>
struct Fields<RankProgram> {
    static constexpr auto list =
        fields<RankProgram>(stated("buffers", &RankProgram::buffers), stated("events", &RankProgram::events),
                            stated("actions", &RankProgram::actions));
};

using Programs = Table<StageId, RankProgram>;

/// Place of one action: stage, and position in that stage's list. Nowhere, unless said.
struct Place {
    StageId stage = {};
    ActionId position = {};

    bool operator==(const Place&) const = default;
};

/// "F mb3 chunk1", "send activations mb3 chunk1 -> stage 2", …: names in logs, traces and refusals.
std::string name_of(const Action& action);

/// "stash mb3 chunk1", "tied_gradient chunk0 shared0 module0", …
std::string name_of(const Buffer& buffer);

/// The action's name followed by what it waits for, how it uses buffers and what it signals, on one line.
std::string describe(const RankProgram& program, const Action& action);

}  // namespace smp::partition
