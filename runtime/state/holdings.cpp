#include "runtime/state/holdings.h"

#include <span>
#include <utility>

#include "runtime/state/stage_layout.h"

namespace smp::runtime {

namespace {

/// Cuts `range` where ownership begins or ends: f(piece, whether it lies in `owned`), which is ascending.
template <class F>
void for_pieces(const Range& range, std::span<const Range> owned, const F& f) {
    std::int64_t begin = range.begin;
    for (const Range& piece : owned) {
        const Range part = intersection(range, piece);
        if (part.size() == 0) continue;
        if (begin < part.begin) f(Range{begin, part.begin}, false);
        f(part, true);
        begin = part.end;
    }
    if (begin < range.end) f(Range{begin, range.end}, false);
}

/// The shards of one rank, parameter by parameter.
class RankHoldings {
  public:
    RankHoldings(const StageLayout& layout, const partition::Coordinate& at)
        : layout_(layout), at_(at), owned_(layout.flat.owned(at.rdp)) {}

    /// A part of a parameter that lies in the buffer of `kind`.
    void add(const ParameterPart& part, Held kind, const Range& place) {
        const models::Parameter& parameter = layout_.parameters[part.parameter];
        const std::int64_t first = layout_.flat.places[part.parameter].begin;
        // A tied parameter's copy counts where it is no copy; what tensor ranks hold alike, on the first of them.
        const bool counts = parameter.tied_to.empty() && (parameter.sharded || at_.tp == 0);
        for_pieces(part.flat, owned_, [&](const Range& piece, bool is_owned) {
            const std::int64_t begin = place.begin + piece.begin - part.flat.begin;
            shards_.push_back({.tensor = parameter.tied_to.empty() ? parameter.name : parameter.tied_to,
                               .kind = kind,
                               .slice = parameter.slice,
                               .of_slice = {piece.begin - first, piece.end - first},
                               .place = {begin, begin + piece.size()},
                               .is_owner = counts && is_owned});
        });
    }
    std::vector<Shard> take() { return std::move(shards_); }

  private:
    const StageLayout& layout_;
    const partition::Coordinate at_;
    const std::vector<Range> owned_;
    std::vector<Shard> shards_;
};

}  // namespace

std::vector<ShardRun> runs_of(const Shard& shard) {
    std::vector<ShardRun> found;
    for (const models::SliceRun& run : models::runs(shard.slice)) {
        const Range part = intersection({run.local, run.local + run.count}, shard.of_slice);
        if (part.size() == 0) continue;
        found.push_back({.global = run.global + part.begin - run.local,
                         .place = shard.place.begin + part.begin - shard.of_slice.begin,
                         .count = part.size()});
    }
    return found;
}

std::vector<Shard> holdings(const partition::Plan& plan, const models::ModelSpec& model, partition::Precision precision,
                            int rank, std::string_view tensor) {
    const partition::Coordinate at = partition::coordinate_of(plan.topology, rank);
    const StageLayout layout = stage_layout(plan, model, precision, at);
    const FlatLayout& flat = layout.flat;
    const auto is_asked_for = [&](int parameter) {
        const models::Parameter& own = layout.parameters[parameter];
        return tensor.empty() || tensor == (own.tied_to.empty() ? own.name : own.tied_to);
    };
    const std::vector<Range> everything = {{0, flat.elements}};
    const auto updated = parts_in(flat, updated_ranges(flat, at.rdp, plan.shard_optimizer_state));
    std::vector<Held> states = {Held::first_moment, Held::second_moment};
    if (precision != partition::Precision::fp32) states.insert(states.begin(), Held::master);

    RankHoldings found(layout, at);
    for (const ParameterPart& whole : parts_in(flat, everything)) {
        if (!is_asked_for(whole.parameter)) continue;
        found.add(whole, Held::value, whole.flat);
        for (const Held kind : states)
            for (const ParameterPart& part : updated)
                if (part.parameter == whole.parameter) found.add(part, kind, part.packed);
    }
    return found.take();
}

}  // namespace smp::runtime
