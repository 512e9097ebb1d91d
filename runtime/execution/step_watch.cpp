#include "runtime/execution/step_watch.h"

#include <algorithm>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "comms/this_process.h"
#include "runtime/agreement/agreement.h"
#include "runtime/machine/usage.h"

namespace smp::runtime {

namespace {

double seconds(comms::Clock::duration time) { return std::chrono::duration<double>(time).count(); }
double seconds(std::int64_t nanoseconds) { return 1e-9 * static_cast<double>(nanoseconds); }

/// Of each rank's work: its stage's.
std::vector<int> kinds_of(const partition::Topology& topology) {
    std::vector<int> kinds;
    for (int rank = 0; rank < topology.degrees.world(); ++rank)
        kinds.push_back(partition::coordinate_of(topology, rank).pp);
    return kinds;
}

std::vector<RankStep> gather(comms::Communicator& world, const RankStep& own) {
    constexpr auto kNumbers = static_cast<std::int64_t>(kRankStepNumbers.size());
    const at::Tensor mine = at::empty({kNumbers}, at::kDouble), all = at::empty({world.size() * kNumbers}, at::kDouble);
    auto* out = mine.data_ptr<double>();
    for (const auto number : kRankStepNumbers) *out++ = own.*number;
    world.all_gather(all, mine).wait();
    std::vector<RankStep> ranks(static_cast<std::size_t>(world.size()));
    const auto* in = all.const_data_ptr<double>();
    for (RankStep& rank : ranks)
        for (const auto number : kRankStepNumbers) rank.*number = *in++;
    return ranks;
}

std::string sentence(std::int64_t step, const StragglerRule::Straggler& straggler, const RankPlace& place) {
    return fmt::format(
        "warning: step {}: rank {} ({}) on {} is a straggler: for {} steps in a row its own work took longer than it "
        "should, {:.0f} ms now where {:.0f} ms are usual for its like; look on that host for other programs, a "
        "throttled or failing device, fewer processors",
        step, straggler.rank, place.coordinate, place.host, StragglerRule::kStepsInARow, 1e3 * straggler.seconds,
        1e3 * straggler.expected);
}

}  // namespace

std::vector<RankPlace> places_of_ranks(comms::Communicator& world, const partition::Topology& topology,
                                       const std::string& device) {
    const RankPlace own =
        place_here({.rank = world.rank(),
                    .host = comms::host_name(),
                    .device = device,
                    .coordinate = partition::to_string(partition::coordinate_of(topology, world.rank())),
                    .threads = at::get_num_threads()});
    std::vector<RankPlace> places;
    for (const std::string& text : texts_of_all(world, to_text(own))) places.push_back(place_of_text(text));
    return places;
}

StepWatch::StepWatch(comms::Communicator& world, std::vector<RankPlace> places, const partition::Topology& topology)
    : world_(world), places_(std::move(places)), rule_(kinds_of(topology)) {
    const RankPlace& own = places_[world.rank()];
    for (int rank = 0; rank < world.rank(); ++rank) {
        const RankPlace& earlier = places_[rank];
        if (earlier.host != own.host) continue;
        first_of_host_ = false;
        if (earlier.process == own.process) first_of_process_ = false;
    }
    if (first_of_host_) devices_.emplace();
}

void StepWatch::begin() {
    begun_ = read_ = comms::Clock::now();
    if (first_of_process_) cpu_seconds_ = cpu_seconds();
}

void StepWatch::have_batch() { read_ = comms::Clock::now(); }

RankStep StepWatch::own_step(const std::optional<IssueTime>& issued, std::int64_t tensor_bytes) const {
    RankStep step;
    step.seconds = seconds(comms::Clock::now() - begun_);
    if (issued) {
        const auto waited = [&](Awaited what) { return seconds(issued->waited(what)); };
        step.exposed_seconds = waited(Awaited::other) + waited(Awaited::inside);
        step.wait_seconds = waited(Awaited::message) + waited(Awaited::update) + step.exposed_seconds;
        step.idle_seconds = waited(Awaited::message) + waited(Awaited::other) + waited(Awaited::update);
        step.busy_seconds = seconds(issued->all) - step.idle_seconds;
    } else {
        step.wait_seconds = step.exposed_seconds = step.idle_seconds = step.busy_seconds = RankStep::kUnknown;
    }
    step.data_seconds = seconds(read_ - begun_);
    step.tensor_bytes = static_cast<double>(tensor_bytes);
    const RankPlace& place = places_[world_.rank()];
    const auto known = [](std::optional<std::int64_t> value) {
        return value ? static_cast<double>(*value) : RankStep::kUnknown;
    };
    if (first_of_process_) {
        step.resident_bytes = known(resident_bytes());
        if (!place.cores.empty() && step.seconds > 0)
            step.cpu_utilization =
                (cpu_seconds() - cpu_seconds_) / (step.seconds * static_cast<double>(place.cores.size()));
    }
    if (first_of_host_) step.node_memory_bytes = known(node_memory_bytes());
    if (devices_) {
        const DeviceReading reading = devices_->latest();
        step.device_memory_bytes = reading.memory_bytes;
        step.device_utilization = reading.utilization;
        step.device_power_watts = reading.power_watts;
        step.device_temperature_celsius = reading.temperature_celsius;
    }
    return step;
}

void StepWatch::end(const std::optional<IssueTime>& issued, std::int64_t tensor_bytes, StepRecord& record) {
    record.ranks = gather(world_, own_step(issued, tensor_bytes));
    sum_up_ranks(record);
    if (!knows_waits(record)) return;
    std::vector<double> work;
    for (const RankStep& rank : record.ranks) work.push_back(rank.work_seconds());
    const auto straggler = rule_.step(work);
    record.straggler_rank = straggler ? std::optional<std::int64_t>(straggler->rank) : std::nullopt;
    if (!straggler || !straggler->is_new) return;
    add_notice(record, sentence(record.step, *straggler, places_[straggler->rank]));
}

}  // namespace smp::runtime
