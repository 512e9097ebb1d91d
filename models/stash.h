// What segments keep of a microbatch from one pass to a later one, written down as data: one row a tensor. Sizes in the
// plan, places in the stash and what is dropped when all follow from these rows; nothing says them a second time.
//
// A family has one table a kind of module (KeptTensor, constexpr) and one function that gives each row its bytes on one
// rank (declare). A tensor's place in the stash is its row, in every pass and for every way of storing; what has not
// been made, or is not needed any more, is an undefined tensor there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace smp::models {

/// The passes of a microbatch through a segment, in order.
enum class Pass { forward, backward_input, backward_weight };

/// A row of a family's table. `Extent` is the family's own enumeration of the sizes that its tensors have.
template <class Extent>
struct KeptTensor {
    std::string_view name;
    Extent extent;
    Pass made;           // puts it into the stash
    Pass used;           // is the last to read it, and drops it
    bool cheap = false;  // with ActivationStorage::recomputes_cheap it is made in backward_input, from what is kept
};

/// Of a tensor that is the module's input: the boundary tensor before it, which the plan counts where it was made for
/// as long as the stash holds it.
inline constexpr std::string_view kModuleInput = "input";

/// A row with its bytes on one rank, for one microbatch.
struct StashEntry {
    std::string name;
    std::int64_t bytes = 0;
    Pass made = Pass::forward;
    Pass used = Pass::backward_input;

    bool operator==(const StashEntry&) const = default;
};

/// Whether the stash holds it between `pass` and the next.
constexpr bool is_kept(const StashEntry& entry, Pass pass) { return entry.made <= pass && pass < entry.used; }

/// Bytes that the stash takes between `pass` and the next. After the forward the module's input is not among them;
/// after the input part of the backward it is, where it is still kept, since nobody else keeps it then.
std::int64_t kept_bytes(std::span<const StashEntry> entries, Pass pass);

/// The row of `name`, and so its place in the stash. A name that the table lacks does not compile.
template <class Extent, std::size_t n>
consteval std::size_t place(const std::array<KeptTensor<Extent>, n>& table, std::string_view name) {
    for (std::size_t i = 0; i < n; ++i)
        if (table[i].name == name) return i;
    throw "no such tensor in the table";
}

/// The table's rows as entries, behind those that are there; `bytes_of` gives the bytes of an Extent.
template <class Extent, std::size_t n, class BytesOf>
void declare(std::vector<StashEntry>& entries, const std::array<KeptTensor<Extent>, n>& table, bool recomputes_cheap,
             const BytesOf& bytes_of) {
    for (const KeptTensor<Extent>& row : table)
        entries.push_back({.name = std::string(row.name),
                           .bytes = bytes_of(row.extent),
                           .made = row.cheap && recomputes_cheap ? Pass::backward_input : row.made,
                           .used = row.used});
}

}  // namespace smp::models
