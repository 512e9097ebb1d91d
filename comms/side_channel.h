// Short texts between any two ranks of a world beside its communication: how ranks still reach each other when a wait
// has run out.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace smp::comms {

/// One rank's end of it. Texts of one sender arrive in their order. Nothing blocks and nothing throws: what cannot be
/// carried is lost, and whoever expects an answer has a deadline. For the rank's own thread.
class SideChannel {
  public:
    static constexpr std::size_t kMostBytes = 2000;  // of a text; longer ones are cut

    struct Note {
        int from;  // rank of the world
        std::string text;
    };

    virtual ~SideChannel() = default;
    virtual int rank() const = 0;
    virtual int size() const = 0;
    /// Where a rank lives: "on node3, process 71"; empty where all live in this process.
    virtual std::string seat(int rank) const = 0;

    virtual void send(int to, const std::string& text) noexcept = 0;
    virtual std::optional<Note> receive() noexcept = 0;
    /// Whether receive() may have something; asked often, so it may look at the outside from time to time only.
    virtual bool has_news() noexcept = 0;
};

}  // namespace smp::comms
