// What is always true of an action, by its kind: one row a kind. The checker does not read the channels here: it states
// them once more.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "partition/job/words.h"
#include "partition/schedule/schedule.h"

namespace smp::partition {

enum class ActionKind {
    forward,  // this and the next three: a stage's computations (ComputationKind)
    backward,
    backward_input,
    backward_weight,
    recompute,  // the forward of a group again, right before its backward
    send,
    receive,
    offload,             // a group's checkpointed input to host memory …
    prefetch,            // … and back, ahead of its recomputation
    sum_tied_gradients,  // local, one for each shared parameter on each stage that holds a copy: adds all copies'
                         // gradients, in ascending order of modules, which is the order in which `reads` lists them
                         // behind `gradients`
    sum_row_gradients,   // of one chunk, over the tensor group, each rank of which has seen its own rows only
    reduce_gradients,    // of a bucket of one chunk, over the data-parallel group
    optimizer_step,      // norm, clipping and update; the norm is collective over the world
    gather_parameters,   // of a bucket of one chunk, over that group, where each rank updates its own shard
    join,  // local: nothing but its waits. Ends a forward-only program, whose last messages no other action waits for
};

/// What a message or a collective carries. Messages from one stage to another on one channel, an edge
/// (partition/plan/edges.h), are first in, first out; edges are independent of each other. Sends are rendezvous: a
/// message leaves and arrives when both sides have posted it.
enum class Channel { none, activations, gradients, tied, data, world };
template <>
struct Words<Channel> {
    static constexpr std::array<std::string_view, 6> list = {"none", "activations", "gradients",
                                                             "tied", "data",        "world"};
};

/// Actions of one stream start in list order; streams are ordered against each other by events only. Compute actions
/// also end in list order; those of the communication stream (messages, and collectives over the data-parallel group)
/// and of the copy streams (one to host memory, one back) are posted in list order and end when they end.
enum class Stream { compute, communication, copy_out, copy_in };
template <>
struct Words<Stream> {
    static constexpr std::array<std::string_view, 4> list = {"compute", "communication", "copy_out", "copy_in"};
};
inline constexpr std::size_t kStreams = Words<Stream>::list.size();

/// Who takes part in an action beside its rank: nobody, one other stage, the ranks of the same stage and replica, those
/// of the same stage and shard, all. (Computations reach the tensor group from within.)
enum class Reach { rank, edge, tensor_group, data_group, world };

/// Of the collectives over the data-parallel group, which begin in the order of issue, at most so many are under way on
/// a rank: one moves while the other is being added up. Two that are further apart never meet.
inline constexpr int kDataCollectivesAtOnce = 2;

/// What a timeline shows it as: its category and its colour.
enum class Activity { forward, backward, backward_weight, recompute, communication, reduction, optimizer, other };
template <>
struct Words<Activity> {
    static constexpr std::array<std::string_view, 8> list = {
        "forward", "backward", "backward weight", "recompute", "communication", "reduction", "optimizer", "other"};
};

struct ActionFacts {
    ActionKind kind;
    std::string_view word;  // begins its name
    Stream stream;
    Reach reach;
    Activity activity;
    std::optional<ComputationKind> computation = std::nullopt;  // of a schedule, which it is

    /// Ends when it ends; all others are done when the next action of the list is issued.
    constexpr bool is_posted() const { return stream != Stream::compute; }
    /// To or from host memory.
    constexpr bool is_copy() const { return stream == Stream::copy_out || stream == Stream::copy_in; }
    constexpr bool is_message() const { return reach == Reach::edge; }
};

// clang-format off
inline constexpr auto kActionFacts = std::to_array<ActionFacts>({
    {ActionKind::forward,            "F",                  Stream::compute,       Reach::rank,         Activity::forward,         ComputationKind::forward},
    {ActionKind::backward,           "B",                  Stream::compute,       Reach::rank,         Activity::backward,        ComputationKind::backward},
    {ActionKind::backward_input,     "BI",                 Stream::compute,       Reach::rank,         Activity::backward,        ComputationKind::backward_input},
    {ActionKind::backward_weight,    "BW",                 Stream::compute,       Reach::rank,         Activity::backward_weight, ComputationKind::backward_weight},
    {ActionKind::recompute,          "R",                  Stream::compute,       Reach::rank,         Activity::recompute},
    {ActionKind::send,               "send",               Stream::communication, Reach::edge,         Activity::communication},
    {ActionKind::receive,            "receive",            Stream::communication, Reach::edge,         Activity::communication},
    {ActionKind::offload,            "offload",            Stream::copy_out,      Reach::rank,         Activity::communication},
    {ActionKind::prefetch,           "prefetch",           Stream::copy_in,       Reach::rank,         Activity::communication},
    {ActionKind::sum_tied_gradients, "sum tied gradients", Stream::compute,       Reach::rank,         Activity::reduction},
    {ActionKind::sum_row_gradients,  "sum row gradients",  Stream::compute,       Reach::tensor_group, Activity::reduction},
    {ActionKind::reduce_gradients,   "reduce gradients",   Stream::communication, Reach::data_group,   Activity::reduction},
    {ActionKind::optimizer_step,     "optimizer step",     Stream::compute,       Reach::world,        Activity::optimizer},
    {ActionKind::gather_parameters,  "gather parameters",  Stream::communication, Reach::data_group,   Activity::reduction},
    {ActionKind::join,               "join",               Stream::compute,       Reach::rank,         Activity::other},
});
// clang-format on

constexpr const ActionFacts& facts_of(ActionKind kind) { return kActionFacts.at(static_cast<std::size_t>(kind)); }

/// The action that a computation of a schedule is.
constexpr ActionKind action_kind(ComputationKind kind) {
    for (const ActionFacts& facts : kActionFacts) {
        if (facts.computation == kind) return facts.kind;
    }
    throw "a computation without an action";
}

template <>
struct Words<ActionKind> {
    static constexpr auto list = [] {
        std::array<std::string_view, kActionFacts.size()> words;
        for (const ActionFacts& facts : kActionFacts) words.at(static_cast<std::size_t>(facts.kind)) = facts.word;
        return words;
    }();
};

static_assert(
    [] {
        for (std::size_t i = 0; i < kActionFacts.size(); ++i) {
            if (kActionFacts[i].kind != static_cast<ActionKind>(i)) return false;
        }
        return kActionFacts.back().kind == ActionKind::join;
    }(),
    "a row for each kind, in their order");

}  // namespace smp::partition
