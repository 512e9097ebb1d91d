// Who waits for whom. When a wait has run out, its rank asks all others what they are doing, and one rank says for all
// where the waits lead to.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comms/side_channel.h"

namespace smp::comms {

/// What a rank is doing at a moment.
struct Standing {
    bool waits = false;
    std::string operation = {};     // that it waits for: "receive of 4096 bytes from rank 2 in 'pipeline'"
    std::vector<int> awaited = {};  // ranks of the world that the operation waits for, as far as it knows
    std::string activity = {};      // "step 7, forward mb3 chunk1"; empty: not known
    bool operator==(const Standing&) const = default;
};

/// As a text for a SideChannel, and back; what is no such text is a rank at work on nothing that is known.
std::string to_text(const Standing& standing);
Standing standing_of(const std::string& text);

/// By rank of the world; none: it has not answered.
using Standings = std::vector<std::optional<Standing>>;

/// Follows the waits from rank `from` to where they end: ranks that do not answer, ranks that wait for nobody, or ranks
/// that wait for each other. A sentence with what each rank on the way waits for (but for `from`, of whom the reader
/// has been told), and with those at the end by `name`.
std::string explain(int from, const Standings& standings, const std::function<std::string(int rank)>& name);

/// One rank's part in inquiries. Each message carries the sender's standing: a question, which also says that the
/// sender has failed and will speak, or an answer. One rank speaks: who has asked first, of those who ask at once the
/// lowest. For the rank's own thread.
class Inquiry {
  public:
    explicit Inquiry(std::unique_ptr<SideChannel> channel);

    /// Where each rank stands in the job: "pp 1, tp 0, rdp 0".
    void name_places(std::vector<std::string> places) { places_ = std::move(places); }
    /// "rank 2 (pp 1, tp 0, rdp 0, on node3, process 71)".
    std::string name(int rank) const;
    int rank() const { return channel_->rank(); }

    bool has_news() noexcept { return channel_->has_news(); }
    /// Takes what has come, and answers it if it asks.
    void answer(const Standing& own) noexcept;

    /// Asks all others and collects what they are doing, for at most `patience` (0 or more), less if all answer. None
    /// where another rank speaks and `is_over` says, within a few times `patience`, that it has done so; if it does
    /// not, this rank speaks. Blocks, answering others.
    std::optional<Standings> ask(const Standing& own, std::chrono::milliseconds patience,
                                 const std::function<bool()>& is_over);

  private:
    void take(const SideChannel::Note& note, const Standing& own);

    std::unique_ptr<SideChannel> channel_;
    std::vector<std::string> places_;
    Standings standings_;  // since the last question that was heard
    bool asks_ = false;    // has sent its question
    bool speaks_ = false;  // and was told to
    bool yields_ = false;  // another rank speaks
};

}  // namespace smp::comms
