#include "comms/collectives/arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "comms/collectives/rank_order_sum.h"

namespace smp::comms {

namespace {

template <typename... Arguments>
[[noreturn]] void refuse(const Communicator& group, const char* operation, fmt::format_string<Arguments...> format,
                         Arguments&&... arguments) {
    throw std::logic_error(
        fmt::format("{}{}: {}", operation, place(group), fmt::format(format, std::forward<Arguments>(arguments)...)));
}

void check_tensor(const Communicator& group, const char* operation, const char* role, const at::Tensor& tensor) {
    if (!tensor.defined()) refuse(group, operation, "the {} is no tensor", role);
    if (!tensor.is_contiguous()) refuse(group, operation, "the {} must be contiguous", role);
}

void check_rank(const Communicator& group, const char* operation, const char* role, int rank) {
    if (rank < 0 || rank >= group.size())
        refuse(group, operation, "the {} is rank {} of the group, which has ranks 0 to {}", role, rank,
               group.size() - 1);
}

void check_pair(const Communicator& group, const char* operation, const at::Tensor& output, const at::Tensor& input) {
    check_tensor(group, operation, "output", output);
    check_tensor(group, operation, "input", input);
    if (output.scalar_type() != input.scalar_type())
        refuse(group, operation, "the output is {}, the input {}", toString(output.scalar_type()),
               toString(input.scalar_type()));
    if (output.device() != input.device())
        refuse(group, operation, "the output is on {}, the input on {}", output.device().str(), input.device().str());
}

bool overlap(const at::Tensor& a, const at::Tensor& b) {
    const auto* a_begin = static_cast<const std::byte*>(a.const_data_ptr());
    const auto* b_begin = static_cast<const std::byte*>(b.const_data_ptr());
    return a_begin < b_begin + b.nbytes() && b_begin < a_begin + a.nbytes();
}

/// May the smaller tensor lie in the larger: nowhere but as the piece of `group`'s own rank.
void check_only_own_piece(const Communicator& group, const char* operation, const at::Tensor& whole,
                          const at::Tensor& piece) {
    if (!overlap(whole, piece)) return;
    const auto* own = static_cast<const std::byte*>(whole.const_data_ptr()) + group.rank() * piece.nbytes();
    if (own != piece.const_data_ptr()) refuse(group, operation, "output and input overlap other than in the own piece");
}

}  // namespace

std::string place(const Communicator& group) {
    return fmt::format(" in '{}' (I am rank {})", group.name(), group.world_rank(group.rank()));
}

std::vector<int> members_of_split(const at::Tensor& wishes, std::int64_t color) {
    const auto* wish = wishes.const_data_ptr<std::int64_t>();
    std::vector<int> members;
    for (int rank = 0; rank < wishes.numel() / 2; ++rank)
        if (wish[2 * rank] == color) members.push_back(rank);
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return wish[2 * a + 1] < wish[2 * b + 1]; });
    return members;
}

std::string listed(const std::vector<int>& ranks) {
    constexpr std::size_t kMost = 8;
    std::string text;
    for (std::size_t i = 0; i < std::min(ranks.size(), kMost); ++i)
        text += fmt::format("{}rank {}", i == 0 ? "" : ", ", ranks[i]);
    if (ranks.size() > kMost) text += fmt::format(" and {} more", ranks.size() - kMost);
    return text.empty() ? "nobody" : text;
}

Route::Route(const Communicator& communicator, bool is_send, const at::Tensor& tensor, int other)
    : sending(is_send),
      bytes(static_cast<std::int64_t>(tensor.nbytes())),
      peer(communicator.world_rank(other)),
      group(communicator.name()) {}

std::string Route::describe() const {
    return fmt::format("{} of {} bytes {} rank {} in '{}'", sending ? "send" : "receive", bytes,
                       sending ? "to" : "from", peer, group);
}

void check_message(const Communicator& group, const char* operation, const at::Tensor& tensor, int peer) {
    check_tensor(group, operation, "tensor", tensor);
    check_rank(group, operation, "peer", peer);
    if (peer == group.rank()) refuse(group, operation, "the peer is this rank itself");
}

void check_all_gather(const Communicator& group, const at::Tensor& output, const at::Tensor& input) {
    check_pair(group, "all_gather", output, input);
    if (output.numel() != group.size() * input.numel())
        refuse(group, "all_gather", "the output has {} elements, {} ranks times {} are needed", output.numel(),
               group.size(), input.numel());
    check_only_own_piece(group, "all_gather", output, input);
}

void check_all_to_all(const Communicator& group, const at::Tensor& output, const at::Tensor& input) {
    check_pair(group, "all_to_all", output, input);
    if (output.numel() != input.numel() || input.numel() % group.size() != 0)
        refuse(group, "all_to_all", "the input has {} elements, the output {}; both need the same multiple of {} ranks",
               input.numel(), output.numel(), group.size());
    if (overlap(output, input)) refuse(group, "all_to_all", "output and input overlap");
}

void check_broadcast(const Communicator& group, const at::Tensor& tensor, int root) {
    check_tensor(group, "broadcast", "tensor", tensor);
    check_rank(group, "broadcast", "root", root);
}

void check_reduce(const Communicator& group, const ReduceRequest& request) {
    const bool everywhere = request.result == ReduceRequest::Result::everywhere;
    const char* operation = everywhere ? "all_reduce" : "reduce_scatter";
    check_pair(group, operation, request.output, request.input);
    if (!can_be_summed(request.input.scalar_type()))
        refuse(group, operation, "cannot reduce {}; float, double, int, long, half and bfloat16 can be",
               toString(request.input.scalar_type()));
    if (everywhere) return;
    if (request.input.numel() != group.size() * request.output.numel())
        refuse(group, operation, "the input has {} elements, {} ranks times {} are needed", request.input.numel(),
               group.size(), request.output.numel());
    check_only_own_piece(group, operation, request.input, request.output);
}

void check_split(const Communicator& group, int color) {
    if (color < 0) refuse(group, "split", "the color is {}, it must be at least 0", color);
}

}  // namespace smp::comms
