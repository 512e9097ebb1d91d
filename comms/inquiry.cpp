#include "comms/inquiry.h"

#include <algorithm>
#include <charconv>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace smp::comms {

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kQuestion = '?', kAnswer = '!';
constexpr std::size_t kMostNamed = 8;     // ranks of a list, and steps of a chain
constexpr std::size_t kMostText = 600;    // of an operation and of an activity
constexpr std::size_t kMostAwaited = 64;  // ranks that a standing carries
constexpr int kPatienceForASpeaker = 4;   // times that of an asker
constexpr std::chrono::milliseconds kPause{1};

std::string short_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    if (text.size() > kMostText) text.resize(kMostText);
    return text;
}

std::string during(const Standing& standing) { return standing.activity.empty() ? "" : ", in " + standing.activity; }

template <typename Name>
std::string listed(const std::vector<int>& ranks, Name name) {
    std::string text;
    for (std::size_t i = 0; i < std::min(ranks.size(), kMostNamed); ++i)
        text += (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") + name(ranks[i]);
    if (ranks.size() > kMostNamed) text += fmt::format(" and {} more", ranks.size() - kMostNamed);
    return text;
}

/// The ranks that waits lead to, breadth first, each with the rank through which it was reached first.
struct Reached {
    std::vector<int> order;
    std::vector<int> through;  // by rank; −1: not reached, or the first
};

Reached follow(int from, const Standings& standings) {
    Reached reached{.order = {from}, .through = std::vector<int>(standings.size(), -1)};
    for (std::size_t i = 0; i < reached.order.size(); ++i) {
        const int rank = reached.order[i];
        if (!standings[rank] || !standings[rank]->waits) continue;
        for (const int next : standings[rank]->awaited) {
            if (next < 0 || next >= static_cast<int>(standings.size())) continue;
            if (std::find(reached.order.begin(), reached.order.end(), next) != reached.order.end()) continue;
            reached.through[next] = rank;
            reached.order.push_back(next);
        }
    }
    return reached;
}

/// "rank 0 waits for rank 1: receive of …, in step 3".
std::string link(int rank, int next, const Standing& standing) {
    return fmt::format("rank {} waits for rank {} ({}{})", rank, next, standing.operation, during(standing));
}

std::string chain_to(int root, const Reached& reached, const Standings& standings) {
    std::vector<int> way = {root};
    while (reached.through[way.back()] >= 0) way.push_back(reached.through[way.back()]);
    std::reverse(way.begin(), way.end());
    std::vector<std::string> links;
    for (std::size_t i = 0; i + 1 < way.size(); ++i)
        links.push_back(i == 0 ? fmt::format("rank {} waits for rank {}", way[0], way[1])
                               : link(way[i], way[i + 1], *standings[way[i]]));
    if (links.size() > kMostNamed) {
        const std::size_t left_out = links.size() - kMostNamed;
        const auto middle = links.begin() + kMostNamed / 2;
        links.erase(middle, middle + static_cast<std::ptrdiff_t>(left_out));
        links.insert(links.begin() + kMostNamed / 2, fmt::format("{} more in between", left_out));
    }
    return fmt::format("{}", fmt::join(links, "; "));
}

}  // namespace

std::string to_text(const Standing& standing) {
    const auto count = std::min(standing.awaited.size(), kMostAwaited);
    const std::vector<int> awaited(standing.awaited.begin(),
                                   standing.awaited.begin() + static_cast<std::ptrdiff_t>(count));
    return fmt::format("{}\n{}\n{}\n{}", standing.waits ? "waits" : "works", fmt::join(awaited, " "),
                       short_line(standing.operation), short_line(standing.activity));
}

Standing standing_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; lines.size() < 4 && at <= text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    if (lines.size() < 4) return {};
    Standing standing{.waits = lines[0] == "waits", .operation = lines[2], .activity = lines[3]};
    const char *at = lines[1].data(), *const end = at + lines[1].size();
    for (int rank = 0; at < end; ++at) {
        const auto [next, error] = std::from_chars(at, end, rank);
        if (error != std::errc()) break;
        standing.awaited.push_back(rank);
        at = next;
    }
    return standing;
}

std::string explain(int from, const Standings& standings, const std::function<std::string(int rank)>& name) {
    const Reached reached = follow(from, standings);
    std::vector<int> silent, at_work, waits_for_nobody;
    for (const int rank : reached.order) {
        if (!standings[rank])
            silent.push_back(rank);
        else if (!standings[rank]->waits)
            at_work.push_back(rank);
        else if (standings[rank]->awaited.empty())
            waits_for_nobody.push_back(rank);
    }
    if (!silent.empty()) {
        const bool one = silent.size() == 1;
        return fmt::format(
            "{}: {}, which {} not answer: stopped, ended, or busy for long outside of communication; see what holds "
            "{} up",
            chain_to(silent.front(), reached, standings), listed(silent, name), one ? "does" : "do",
            one ? "that process" : "those processes");
    }
    if (!at_work.empty()) {
        const int rank = at_work.front();
        const std::string activity = standings[rank]->activity;
        return fmt::format("{}: {}, which is at work{}{}", chain_to(rank, reached, standings), listed(at_work, name),
                           activity.empty() ? "" : ": ", activity);
    }
    if (!waits_for_nobody.empty()) {
        const int rank = waits_for_nobody.front();
        const std::string chain = chain_to(rank, reached, standings);
        return fmt::format("{}{}{} waits for no other rank ({}{})", chain, chain.empty() ? "" : "; ", name(rank),
                           standings[rank]->operation, during(*standings[rank]));
    }
    std::vector<std::string> links;
    for (std::size_t i = 0; i < std::min(reached.order.size(), kMostNamed); ++i) {
        const int rank = reached.order[i];
        links.push_back(link(rank, standings[rank]->awaited.front(), *standings[rank]));
    }
    return fmt::format("{} wait for each other: {}", listed(reached.order, name), fmt::join(links, "; "));
}

Inquiry::Inquiry(std::unique_ptr<SideChannel> channel) : channel_(std::move(channel)), standings_(channel_->size()) {}

std::string Inquiry::name(int rank) const {
    const std::string place = rank < static_cast<int>(places_.size()) ? places_[rank] : "", seat = channel_->seat(rank);
    if (place.empty() && seat.empty()) return fmt::format("rank {}", rank);
    return fmt::format("rank {} ({}{}{})", rank, place, place.empty() || seat.empty() ? "" : ", ", seat);
}

void Inquiry::answer(const Standing& own) noexcept {
    try {
        while (const auto note = channel_->receive()) take(*note, own);
    } catch (const std::exception&) {  // no memory: then there is no answer
    }
}

void Inquiry::take(const SideChannel::Note& note, const Standing& own) {
    if (note.text.empty()) return;
    standings_[note.from] = standing_of(note.text.substr(1));
    if (note.text.front() != kQuestion) return;
    if (!asks_ || note.from < rank()) yields_ = true;
    channel_->send(note.from, kAnswer + to_text(own));
}

std::optional<Standings> Inquiry::ask(const Standing& own, std::chrono::milliseconds patience,
                                      const std::function<bool()>& is_over) {
    answer(own);
    standings_[rank()] = own;
    if (speaks_) return standings_;
    if (!yields_) {
        asks_ = true;
        for (int rank = 0; rank < channel_->size(); ++rank)
            if (rank != channel_->rank()) channel_->send(rank, kQuestion + to_text(own));
    }
    const Clock::time_point start = Clock::now();
    const auto all_have_answered = [&] {
        return std::all_of(standings_.begin(), standings_.end(), [](const auto& known) { return known.has_value(); });
    };
    for (;;) {
        answer(own);
        if (is_over()) return std::nullopt;
        const auto waited = Clock::now() - start;
        if (!yields_ && (waited >= patience || all_have_answered())) break;
        if (waited >= kPatienceForASpeaker * patience) break;
        std::this_thread::sleep_for(kPause);
    }
    speaks_ = true;
    return standings_;
}

}  // namespace smp::comms
