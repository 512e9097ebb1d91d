// How GPT-2 cuts text into pieces before it merges bytes.
#pragma once

#include <functional>
#include <string_view>

namespace smp::runtime {

/// Calls `piece` for each piece of `text`, in order; together they are the text. Words, numbers, runs of other
/// characters, each with at most one leading space; contractions ('s, 't, …); white space (GPT-2's pattern, Radford et
/// al. 2019; white space is Unicode's property White_Space). A maximal run of bytes that are no valid UTF-8 is one
/// piece. Linear in the length of the text.
void split_gpt2(std::string_view text, const std::function<void(std::string_view)>& piece);

}  // namespace smp::runtime
