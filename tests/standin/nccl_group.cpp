#include "tests/standin/nccl_group.h"

#include <cstring>

#include "tests/standin/numbers.h"

namespace smp::standin {

namespace {

const char* name_of(Call::Kind kind) {
    switch (kind) {
        case Call::Kind::send: return "send";
        case Call::Kind::receive: return "receive";
        case Call::Kind::all_gather: return "all_gather";
        case Call::Kind::all_to_all: return "all_to_all";
        case Call::Kind::broadcast: return "broadcast";
        case Call::Kind::all_reduce: return "all_reduce";
        case Call::Kind::reduce_scatter: return "reduce_scatter";
    }
    return "?";
}

/// As NCCL would, but in the order of the ranks and with one rounding of 16 bits: real sums of these differ a little.
bool add(ncclDataType_t type, bool maximum, std::span<const void* const> inputs, std::span<void* const> outputs,
         std::int64_t count) {
    switch (type) {
        case ncclFloat32: combine<float, float>(maximum, inputs, outputs, count); return true;
        case ncclFloat64: combine<double, double>(maximum, inputs, outputs, count); return true;
        case ncclFloat16: combine<c10::Half, float>(maximum, inputs, outputs, count); return true;
        case ncclBfloat16: combine<c10::BFloat16, float>(maximum, inputs, outputs, count); return true;
        case ncclInt32: combine<std::int32_t, std::int32_t>(maximum, inputs, outputs, count); return true;
        case ncclInt64: combine<std::int64_t, std::int64_t>(maximum, inputs, outputs, count); return true;
        default: return false;
    }
}

std::byte* at(void* memory, std::size_t offset) { return static_cast<std::byte*>(memory) + offset; }
const std::byte* at(const void* memory, std::size_t offset) { return static_cast<const std::byte*>(memory) + offset; }

}  // namespace

std::size_t bytes_of(ncclDataType_t type) {
    switch (type) {
        case ncclInt8:
        case ncclUint8: return 1;
        case ncclFloat16:
        case ncclBfloat16: return 2;
        case ncclInt32:
        case ncclUint32:
        case ncclFloat32: return 4;
        case ncclInt64:
        case ncclUint64:
        case ncclFloat64: return 8;
        default: return 0;
    }
}

std::string Call::describe() const {
    std::string text = std::string(name_of(kind)) + " of " + std::to_string(count * bytes_of(type)) + " bytes";
    if (kind == Kind::send) text += " to rank " + std::to_string(peer);
    if (kind == Kind::receive) text += " from rank " + std::to_string(peer);
    return text;
}

std::size_t Group::place_of(int rank, const Call& call) const {
    if (!call.is_message()) return static_cast<std::size_t>(rank);
    return call.kind == Call::Kind::send ? 0 : 1;
}

std::shared_ptr<Meeting> Group::come(int rank, const Call& call, std::int64_t number) {
    std::tuple key{-1, -1, number};
    if (call.kind == Call::Kind::send) key = {rank, call.peer, number};
    if (call.kind == Call::Kind::receive) key = {call.peer, rank, number};
    auto& entry = meetings_[key];
    if (!entry) {
        entry = std::make_shared<Meeting>();
        entry->calls.resize(call.is_message() ? 2 : static_cast<std::size_t>(size_));
    }
    std::shared_ptr<Meeting> meeting = entry;
    meeting->calls[place_of(rank, call)] = call;
    if (++meeting->here == meeting->calls.size()) {
        meetings_.erase(key);
        perform(*meeting);
        meeting->is_over = true;
    }
    changed.tell();
    return meeting;
}

void Group::leave(int rank, const Call& call, Meeting& meeting) {
    if (meeting.is_over) return;
    meeting.calls[place_of(rank, call)].reset();
    --meeting.here;
}

void Group::perform(const Meeting& meeting) {
    const Call& first = *meeting.calls.front();
    if (!first.is_message()) return perform_collective(meeting.calls);
    const Call& last = *meeting.calls.back();
    const std::size_t sent = first.count * bytes_of(first.type), received = last.count * bytes_of(last.type);
    if (sent != received)
        trouble_ = "a " + first.describe() + " meets a " + last.describe();
    else if (sent > 0)
        std::memcpy(last.out, first.in, sent);
}

void Group::perform_collective(const std::vector<std::optional<Call>>& calls) {
    const Call& first = *calls.front();
    for (const auto& call : calls)
        if (call->kind != first.kind || call->count != first.count || call->type != first.type ||
            call->reduction != first.reduction || call->peer != first.peer) {
            trouble_ = "ranks call different collectives: " + first.describe() + " and " + call->describe();
            return;
        }
    const std::size_t bytes = first.count * bytes_of(first.type), ranks = calls.size();
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (const auto& call : calls) {
        inputs.push_back(call->in);
        outputs.push_back(call->out);
    }
    const bool maximum = first.reduction == ncclMax;
    const auto count = static_cast<std::int64_t>(first.count);
    bool known = first.reduction == ncclSum || maximum;
    switch (first.kind) {
        case Call::Kind::send:
        case Call::Kind::receive: break;
        case Call::Kind::all_gather:
            for (std::size_t to = 0; to < ranks; ++to)
                for (std::size_t from = 0; from < ranks; ++from)
                    std::memmove(at(outputs[to], from * bytes), inputs[from], bytes);
            break;
        case Call::Kind::all_to_all:
            for (std::size_t to = 0; to < ranks; ++to)
                for (std::size_t from = 0; from < ranks; ++from)
                    std::memmove(at(outputs[to], from * bytes), at(inputs[from], to * bytes), bytes);
            break;
        case Call::Kind::broadcast:
            for (void* const output : outputs)
                std::memmove(output, inputs[static_cast<std::size_t>(first.peer)], bytes);
            break;
        case Call::Kind::all_reduce: known = known && add(first.type, maximum, inputs, outputs, count); break;
        case Call::Kind::reduce_scatter:
            for (std::size_t to = 0; to < ranks && known; ++to) {
                std::vector<const void*> pieces;
                pieces.reserve(ranks);
                for (const void* const input : inputs) pieces.push_back(at(input, to * bytes));
                known = add(first.type, maximum, pieces, std::span(&outputs[to], 1), count);
            }
            break;
    }
    if (!known) trouble_ = "a reduction that the stand-in does not know: " + first.describe();
}

}  // namespace smp::standin
