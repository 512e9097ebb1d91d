#include "partition/foresight/schedule_diagram.h"

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "partition/foresight/simulator.h"

namespace smp::partition {
namespace {

constexpr int kTicksBetweenMarks = 10;
constexpr int kTicksAroundMark = 5;  // bands end between two marks

/// Ticks of what is drawn. A chunk that is recomputed in groups is drawn once, where its first one is.
std::optional<int> ticks_of(const Action& action) {
    if (action.group > GroupId(0)) return std::nullopt;
    switch (action.kind) {
        case ActionKind::forward:
        case ActionKind::backward_input:
        case ActionKind::backward_weight: return 1;
        case ActionKind::backward: return 2;
        default: return std::nullopt;
    }
}

Durations unit_prices(const Programs& programs) {
    Durations durations;
    for (const RankProgram& program : programs) {
        auto& list = durations.emplace_back();
        for (const Action& action : program.actions) list.push_back({.duration = ticks_of(action).value_or(0)});
    }
    return durations;
}

/// How actions look: all cells of a picture have one width a tick.
class Cells {
  public:
    explicit Cells(const Plan& plan)
        : placement_(placement_of(plan.chunks, plan.topology.degrees.pp)),
          has_chunks_(placement_.chunks() > placement_.stages()) {
        std::size_t label = 0;
        bool is_split = false;
        for (const RankProgram& program : plan.training) {
            for (const Action& action : program.actions) {
                if (!ticks_of(action)) continue;
                label = std::max(label, label_of(action).size());
                is_split = is_split || action.kind == ActionKind::backward_input;
            }
        }
        width_ = static_cast<int>(label) + (is_split ? 2 : 1);
    }

    int width() const { return width_; }

    std::string draw(const Action& action) const {
        const auto padded = [&](int width) { return fmt::format("{:<{}}", label_of(action), width); };
        switch (action.kind) {
            case ActionKind::backward: return '[' + padded(2 * width_ - 2) + ']';
            case ActionKind::backward_input: return '(' + padded(width_ - 2) + ')';
            case ActionKind::backward_weight: return '<' + padded(width_ - 2) + '>';
            default: return padded(width_);
        }
    }

  private:
    /// "12", or "12b" through the second chunk of a stage that has several.
    std::string label_of(const Action& action) const {
        std::string letters;
        if (has_chunks_) {
            for (int i = placement_.own_index(action.chunk); i >= 0; i = i / 26 - 1)
                letters.insert(letters.begin(), static_cast<char>('a' + i % 26));
        }
        return fmt::format("{}{}", action.microbatch, letters);
    }

    Placement placement_;
    bool has_chunks_;
    int width_ = 1;
};

std::string legend(const Plan& plan, const Cells& cells) {
    const auto line = [&](Action action, const std::string& meaning) {
        return fmt::format("  {:<{}}  {}\n", cells.draw(action), 2 * cells.width(), meaning);
    };
    const auto has = [&](ActionKind kind) {
        const auto& actions = plan.training.front().actions;
        return std::any_of(actions.begin(), actions.end(), [&](const Action& action) { return action.kind == kind; });
    };
    const int stages = plan.topology.degrees.pp;
    std::string text = fmt::format(
        "{} on {} stage{}: {} microbatch{}, at most {} active{}\n", word_of(plan.schedule), stages,
        stages == 1 ? "" : "s", plan.microbatches, plan.microbatches == 1 ? "" : "es", plan.active_microbatches,
        facts_of(plan.schedule).splits_backward ? "; made for the model's costs, drawn with equal ones" : "");
    text += line({.kind = ActionKind::forward, .microbatch = MicrobatchId(0), .chunk = ChunkId(0)},
                 "forward of microbatch 0, one tick");
    if (has(ActionKind::backward))
        text += line({.kind = ActionKind::backward, .microbatch = MicrobatchId(0), .chunk = ChunkId(0)},
                     "its backward, two ticks");
    if (has(ActionKind::backward_input)) {
        text += line({.kind = ActionKind::backward_input, .microbatch = MicrobatchId(0), .chunk = ChunkId(0)},
                     "input part of its backward, one tick");
        text += line({.kind = ActionKind::backward_weight, .microbatch = MicrobatchId(0), .chunk = ChunkId(0)},
                     "weight part of its backward, one tick");
    }
    if (static_cast<int>(plan.chunks.size()) > stages)
        text += line({.kind = ActionKind::forward,
                      .microbatch = MicrobatchId(0),
                      .chunk = placement_of(plan.chunks, stages).chunks_of(StageId(0))[1]},
                     "the same through the second chunk of the stage");
    return text + fmt::format("  {:<{}}  idle; messages, reductions and the optimizer take no time here\n", '.',
                              2 * cells.width());
}

/// The number of the first tick, and of every tenth, above where they start.
std::string ruler(std::int64_t first, std::int64_t ticks, int width) {
    std::string line(static_cast<std::size_t>(ticks * width), ' ');
    for (std::int64_t tick = first; tick < first + ticks; ++tick) {
        if (tick != first && tick % kTicksBetweenMarks != 0) continue;
        const std::string mark = std::to_string(tick);
        line.replace(static_cast<std::size_t>((tick - first) * width), mark.size(), mark);
    }
    return line;
}

std::vector<std::string> rows_of(const Plan& plan, const Timeline& timeline, const Cells& cells) {
    std::vector<std::string> rows;
    for (const StageId stage : plan.training.ids()) {
        std::string row(static_cast<std::size_t>(timeline.makespan * cells.width()), '.');
        const auto& actions = plan.training[stage].actions;
        for (const ActionId i : actions.ids()) {
            if (!ticks_of(actions[i])) continue;
            const std::string cell = cells.draw(actions[i]);
            row.replace(static_cast<std::size_t>(timeline.spans[stage][i].start * cells.width()), cell.size(), cell);
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

std::int64_t quotient_up(std::int64_t value, std::int64_t divisor) { return (value + divisor - 1) / divisor; }

/// At most `most` ticks, so that bands are about equally long.
std::int64_t ticks_of_a_band(std::int64_t ticks, std::int64_t most) {
    if (ticks <= most) return std::max<std::int64_t>(1, ticks);
    if (most < kTicksAroundMark) return std::max<std::int64_t>(1, most);
    most -= most % kTicksAroundMark;
    return kTicksAroundMark * quotient_up(quotient_up(ticks, quotient_up(ticks, most)), kTicksAroundMark);
}

std::string without_trailing_spaces(const std::string& text) { return text.substr(0, text.find_last_not_of(' ') + 1); }

}  // namespace

std::string schedule_diagram(const Plan& plan, const DiagramSize& size) {
    const Cells cells(plan);
    const Timeline timeline = simulate(plan.training, unit_prices(plan.training));
    const auto rows = rows_of(plan, timeline, cells);
    const std::string title = "stage ";
    const int margin = static_cast<int>(title.size() + std::to_string(rows.size() - 1).size()) + 2;
    const std::int64_t ticks_per_band = ticks_of_a_band(timeline.makespan, (size.columns - margin) / cells.width());
    const std::int64_t bands = std::min<std::int64_t>(size.bands, quotient_up(timeline.makespan, ticks_per_band));
    const std::int64_t shown = std::min(timeline.makespan, bands * ticks_per_band);

    std::string text = legend(plan, cells);
    for (std::int64_t first = 0; first < shown; first += ticks_per_band) {
        const std::int64_t ticks = std::min(ticks_per_band, shown - first);
        const auto from = static_cast<std::size_t>(first * cells.width());
        const auto columns = static_cast<std::size_t>(ticks * cells.width());
        text += without_trailing_spaces(fmt::format("\n{:<{}}{}", "tick", margin, ruler(first, ticks, cells.width()))) +
                '\n';
        for (std::size_t stage = 0; stage < rows.size(); ++stage)
            text += without_trailing_spaces(fmt::format("{:<{}}{}", title + std::to_string(stage), margin,
                                                        rows[stage].substr(from, columns))) +
                    '\n';
    }
    if (shown < timeline.makespan)
        text += fmt::format("\nThe first {} of {} ticks; --format trace holds all.\n", shown, timeline.makespan);
    return text + fmt::format("\n{} ticks; idle time over work (bubble): {:.1f} %\n", timeline.makespan,
                              1e2 * timeline.bubble());
}

}  // namespace smp::partition
