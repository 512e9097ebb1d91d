#include "runtime/trainer.h"

#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include "partition/check/checker.h"
#include "partition/foresight/memory_forecast.h"
#include "runtime/execution/agreement.h"
#include "runtime/execution/batch_reader.h"
#include "runtime/execution/executor.h"
#include "runtime/execution/gathered_times.h"
#include "runtime/execution/text_sampler.h"
#include "runtime/job/job_plan.h"
#include "runtime/stage/initial_weights.h"
#include "runtime/stage/memory_error.h"
#include "runtime/stage/parameter_collection.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/state/learning_rate.h"
#include "runtime/state/loss_scale.h"
#include "runtime/update/adamw.h"
#include "runtime/update/gradient_norm.h"
#include "runtime/update/non_finite.h"
#include "runtime/update/shard_exchange.h"

namespace smp::runtime {

namespace {

/// Sums tensors over a group, in place, as one message: the sum of each element is that of the ranks in order, however
/// many are summed together. Collective, blocking.
void sum_in_one(comms::Communicator& group, const std::vector<at::Tensor>& tensors) {
    if (tensors.empty()) return;
    std::vector<at::Tensor> flat;
    for (const at::Tensor& tensor : tensors) flat.push_back(tensor.view({-1}));
    const at::Tensor all = at::cat(flat);
    comms::all_reduce(group, all).wait();
    std::int64_t first = 0;
    for (const at::Tensor& tensor : flat) {
        at::Tensor(tensor).copy_(all.narrow(0, first, tensor.numel()));
        first += tensor.numel();
    }
}

}  // namespace

class Trainer::Impl {
  public:
    Impl(const Job& job, comms::Communicator& world, TrainerOptions options);

    StepRecord step(partition::StepTimes* times);
    double evaluate();
    std::vector<std::int64_t> sample();
    /// Where shards are updated by their owners: fetches what this rank does not have. Collective.
    void complete(Tensors what);

    Job job_;
    comms::Communicator& world_;
    partition::Precision precision_ = partition::precision_of(job_.parallel);
    partition::Plan plan_;
    partition::ModuleGraph graph_;
    MemoryMeter meter_;
    partition::MemoryUse memory_;  // in the last step
    std::optional<Dataset> train_, validation_;
    RankGroups groups_;
    BatchCut cut_;
    TokenNeeds needs_;
    std::optional<Stage> stage_;
    std::optional<ShardExchange> exchange_;  // over the data-parallel ranks
    std::optional<Executor> executor_;
    std::optional<AdamW> optimizer_;
    std::vector<bool> stale_;  // by section: whether other ranks have updated their shards of the values since
    std::optional<LossScale> loss_scale_;  // with fp16
    std::int64_t steps_done_ = 0, skipped_updates_ = 0;
    std::int64_t predicted_memory_ = 0;  // of the largest rank: what the plan knows
    bool skipped_last_ = false;          // whether the last step's update was

  private:
    StepDuties forward_duties();
    comms::Work gather_values(int section);
    void scale_gradients(double factor);
    /// Ends the job where a loss or a gradient is not finite and no loss scale could mend it: throws AgreedFailure with
    /// the first place. Collective.
    void refuse_non_finite(double loss, std::span<const models::Microbatch> batch);
    /// Counts a step whose gradients overflowed, and lowers the scale. A sentence about it, for the first in a row.
    /// Collective.
    std::string skip_update();
    std::string describe(int rank) const {
        return fmt::format("{} ({})", rank, partition::to_string(partition::coordinate_of(plan_.topology, rank)));
    }
    double scale() const { return loss_scale_ ? loss_scale_->value() : 1; }
    /// The shard of the flat buffers that is this rank's.
    std::vector<Range> owned() const { return stage_->layout().owned(groups_.at.rdp); }
    /// What this rank updates of them, and has the summed gradients of.
    std::vector<Range> updated() const {
        return plan_.shard_optimizer_state ? owned() : std::vector<Range>{{0, stage_->layout().elements}};
    }
    void prepare_locally(std::optional<partition::Plan> plan);
    std::vector<models::Microbatch> microbatches(const Dataset& data, std::int64_t first_sample, bool training) const;
    /// Adds the losses where they were made.
    void add_losses(std::span<const models::Loss> losses, ExactSum& sum) const;
    /// Sums over the world, exactly.
    std::vector<double> sum_over_world(std::vector<ExactSum> sums) const;
    std::int64_t largest_over_world(std::int64_t value) const;
    double tokens_per_batch() const { return static_cast<double>(cut_.global_batch * cut_.length); }
};

Trainer::Impl::Impl(const Job& job, comms::Communicator& world, TrainerOptions options)
    : job_(job), world_(world), meter_(memory_limit(job.cluster)) {
    fail_together(world_, [&] { prepare_locally(std::move(options.plan)); });
    require_equal_text(world_, fmt::format("{}\nplan={:016x}\n", job_.canonical_text, partition::hash_of(plan_)));

    groups_ = make_groups(plan_.topology, world_);
    cut_.replica = groups_.at.rdp;
    needs_ = {.inputs = groups_.at.stage() == plan_.chunks.front().stage,
              .targets = groups_.at.stage() == plan_.chunks.back().stage};
    stage_.emplace(job_.model, plan_, groups_, meter_, job_.parallel, at::kCPU);
    exchange_.emplace(*groups_.data, stage_->layout());
    stale_.assign(stage_->chunks().size(), false);
    executor_.emplace(plan_, graph_.shared, *stage_, groups_, meter_, std::move(options.executor));
    {
        const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::optimizer);
        optimizer_.emplace(*stage_, job_.training, updated());
    }
    fail_together(world_, [this] {
        set_initial_weights(*stage_, job_.training, [this](int parameter, const at::Tensor& values) {
            optimizer_->start_from(parameter, values);
        });
    });
    if (precision_ == partition::Precision::fp16)
        loss_scale_.emplace(job_.training.loss_scale.value_or(LossScaleOptions{}));
}

void Trainer::Impl::prepare_locally(std::optional<partition::Plan> plan) {
    plan_ = plan ? std::move(*plan) : plan_of(job_, world_.size());
    if (const auto faults = partition::check(plan_); !faults.empty())
        throw std::logic_error(fmt::format("the plan cannot be executed: {}", faults.front()));
    const auto& degrees = plan_.topology.degrees;
    cut_ = {.global_batch = global_batch(job_.training, job_.parallel, degrees.rdp),
            .length = sequence_length(job_.training, job_.model),
            .replicas = degrees.rdp,
            .replica = 0,
            .microbatches = plan_.microbatches};
    graph_ = graph_of(job_, world_.size());
    const auto timeline = modelled_timeline(plan_, graph_);
    for (const partition::StageId stage : plan_.training.ids())
        predicted_memory_ = std::max(predicted_memory_, memory_forecast(plan_, graph_, timeline, stage).device_peak);
    if (const auto limit = memory_limit(job_.cluster))
        if (const auto sentence = misfit(plan_, graph_, timeline, *limit)) throw MemoryError(*sentence);
    const auto open = [&](DataSplit split) {
        return open_dataset(job_.data, split, job_.model.vocab_size, cut_.length, job_.training.seed);
    };
    train_ = open(DataSplit::train);
    if (runtime::has_validation_data(job_.data)) validation_ = open(DataSplit::validation);
}

std::vector<models::Microbatch> Trainer::Impl::microbatches(const Dataset& data, std::int64_t first_sample,
                                                            bool training) const {
    auto microbatches = read_microbatches(data, first_sample, cut_, needs_);
    for (models::Microbatch& microbatch : microbatches) {
        microbatch.seed = job_.training.seed;
        microbatch.step = static_cast<std::uint64_t>(steps_done_);
        microbatch.training = training;
        microbatch.gradient_scale = scale() / tokens_per_batch();
    }
    return microbatches;
}

void Trainer::Impl::add_losses(std::span<const models::Loss> losses, ExactSum& sum) const {
    if (!needs_.targets || groups_.at.tp != 0) return;  // every tensor rank of the last stage has the same value
    for (const models::Loss& loss : losses) sum.add(loss.sum);
}

std::vector<double> Trainer::Impl::sum_over_world(std::vector<ExactSum> sums) const {
    const at::Tensor words = at::empty({static_cast<std::int64_t>(sums.size()), ExactSum::kWords}, at::kLong);
    auto* data = words.data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < sums.size(); ++i) std::ranges::copy(sums[i].words(), data + i * ExactSum::kWords);
    comms::all_reduce(world_, words).wait();
    std::vector<double> totals;
    for (std::size_t i = 0; i < sums.size(); ++i)
        totals.push_back(ExactSum::from_words({data + i * ExactSum::kWords, ExactSum::kWords}).value());
    return totals;
}

std::int64_t Trainer::Impl::largest_over_world(std::int64_t value) const {
    const at::Tensor largest = at::full({1}, value, at::kLong);
    comms::all_reduce(world_, largest, comms::Reduction::max).wait();
    return largest.const_data_ptr<std::int64_t>()[0];
}

StepRecord Trainer::Impl::step(partition::StepTimes* times) {
    const auto begin = std::chrono::steady_clock::now();
    meter_.reset_peaks();
    const auto batch = microbatches(*train_, steps_done_ * cut_.global_batch, /*training=*/true);
    const double learning_rate = learning_rate_at(job_.training, steps_done_ - skipped_updates_);
    double loss = 0, norm = 0;
    bool updates = false;
    stage_->zero_gradients();

    StepDuties duties = forward_duties();
    duties.reduce_gradients = [&](partition::ChunkId chunk) {
        const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::communication);
        // As in compute actions, the tensor ranks of a stage, which run one program, meet here.
        sum_in_one(*groups_.tensor, stage_->row_gradients(chunk));
        const int section = stage_->section(chunk);
        return plan_.shard_optimizer_state ? exchange_->reduce_scatter(stage_->flat_gradients(), section)
                                           : exchange_->all_reduce(stage_->flat_gradients(), section);
    };
    duties.optimizer_step = [&](std::span<const models::Loss> of_batch) {
        ExactSum losses;
        add_losses(of_batch, losses);
        const auto totals =
            sum_over_world({losses, sum_of_squares(stage_->flat_gradients(), stage_->counted(), owned())});
        loss = totals[0] / tokens_per_batch();
        norm = std::sqrt(totals[1]) / scale();  // exact, since the scale is a power of two
        updates = std::isfinite(loss) && std::isfinite(norm);
        if (!updates) return;
        if (const double factor = clip_factor(norm, job_.training.gradient_clip_norm) / scale(); factor != 1)
            scale_gradients(factor);
        optimizer_->step(learning_rate);
        stale_.assign(stale_.size(), plan_.shard_optimizer_state);
    };
    const auto own_times = times != nullptr ? std::make_shared<partition::ActionTimes>() : nullptr;
    executor_->run(plan_.training[groups_.at.stage()], batch, duties, own_times);
    if (!std::isfinite(loss) || (!updates && !loss_scale_)) refuse_non_finite(loss, batch);
    ++steps_done_;
    std::string notice;
    if (!updates) notice = skip_update();
    skipped_last_ = !updates;
    if (updates && loss_scale_) loss_scale_->update(/*overflowed=*/false);

    StepRecord record;
    record.step = steps_done_;
    record.loss = loss;
    record.learning_rate = learning_rate;
    record.grad_norm = norm;
    record.tokens = steps_done_ * cut_.global_batch * cut_.length;
    record.skipped_updates = skipped_updates_;
    record.notice = std::move(notice);
    memory_ = meter_.use();
    record.memory_bytes = largest_over_world(memory_.device_peak);
    record.predicted_memory_bytes = predicted_memory_;
    record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    record.tokens_per_second = tokens_per_batch() / record.seconds;
    if (times != nullptr) *times = gather_times(world_, plan_, steps_done_, *own_times);
    return record;
}

std::string Trainer::Impl::skip_update() {
    const double before = scale();
    ++skipped_updates_;
    loss_scale_->update(/*overflowed=*/true);
    if (skipped_last_) return "";
    const auto place = NonFiniteSearch(world_, *stage_, job_.model).in_gradients(updated());
    return fmt::format(
        "step {} made no update: {}, added up over replicas, overflowed in fp16 on rank {} with the loss scale {}, "
        "which is now {}",
        steps_done_, place ? place->where : "a gradient", place ? describe(place->rank) : "?", before, scale());
}

void Trainer::Impl::refuse_non_finite(double loss, std::span<const models::Microbatch> batch) {
    const NonFiniteSearch search(world_, *stage_, job_.model);
    std::optional<NonFinite> place = search.in_values();
    const bool in_values = place.has_value();
    if (!place) {
        // The values are those of the step, so the same forward can be run again.
        std::optional<int> first;
        StepDuties duties = forward_duties();
        duties.after_forward = [&](int module, const at::Tensor& output) {
            if (output.defined() && !is_finite(output)) first = std::min(module, first.value_or(module));
        };
        executor_->run(plan_.evaluation[groups_.at.stage()], batch, duties);
        place = search.in_outputs(first);
    }
    if (!place) place = search.in_gradients(updated());
    const int head = partition::rank_of(plan_.topology, {.pp = plan_.chunks.back().stage.number(), .tp = 0, .rdp = 0});
    if (!place) place = {.where = "the logits of lm_head", .rank = head};
    const bool read = in_values && steps_done_ == 0 && !job_.training.initial_weights.empty();
    throw AgreedFailure(
        fmt::format("step {}: the {} not finite, which first shows in {} on rank {}; {}", steps_done_ + 1,
                    std::isfinite(loss) ? "gradients are" : "loss is", place->where, describe(place->rank),
                    read ? "check training.initial_weights"
                         : "a lower training.learning_rate, a longer training.warmup_steps or another precision may "
                           "help"),
        read ? 3 : 2, place->rank);
}

StepDuties Trainer::Impl::forward_duties() {
    StepDuties duties;
    duties.gather_parameters = [this](partition::ChunkId chunk) { return gather_values(stage_->section(chunk)); };
    return duties;
}

comms::Work Trainer::Impl::gather_values(int section) {
    if (!stale_[section]) return {};
    stale_[section] = false;
    const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::communication);
    return exchange_->gather(stage_->flat_values(), section);
}

void Trainer::Impl::scale_gradients(double factor) {
    if (!plan_.shard_optimizer_state) {
        stage_->flat_gradients().mul_(factor);
        return;
    }
    for (const Range& piece : owned()) stage_->flat_gradients().narrow(0, piece.begin, piece.size()).mul_(factor);
}

void Trainer::Impl::complete(Tensors what) {
    if (!plan_.shard_optimizer_state) return;
    for (int section = 0; section < static_cast<int>(stale_.size()); ++section) {
        if (what == Tensors::values)
            gather_values(section).wait();
        else
            exchange_->gather(stage_->flat_gradients(), section).wait();
    }
}

double Trainer::Impl::evaluate() {
    if (!validation_) throw std::logic_error("Trainer::evaluate: there are no validation data");
    ExactSum losses;
    const std::int64_t batches = job_.training.evaluation_batches;
    for (std::int64_t i = 0; i < batches; ++i) {
        const auto batch = microbatches(*validation_, i * cut_.global_batch, /*training=*/false);
        add_losses(executor_->run(plan_.evaluation[groups_.at.stage()], batch, forward_duties()), losses);
    }
    return sum_over_world({losses}).front() / (tokens_per_batch() * static_cast<double>(batches));
}

std::vector<std::int64_t> Trainer::Impl::sample() {
    TextSampler sampler(job_, cut_.length, static_cast<std::uint64_t>(steps_done_));
    const int source =
        partition::rank_of(plan_.topology, {.pp = plan_.chunks.back().stage.number(), .tp = 0, .rdp = 0});
    while (!sampler.complete()) {
        std::vector<models::Microbatch> batch(1);
        batch[0].sequences = 1;
        batch[0].length = cut_.length;
        batch[0].training = false;
        if (needs_.inputs) batch[0].inputs = sampler.context();
        std::int64_t token = 0;
        StepDuties duties = forward_duties();
        duties.at_head = [&](models::Segment& head, const at::Tensor& hidden) {
            token = sampler.draw(head.logits(hidden, sampler.position(), 1));
        };
        executor_->run(plan_.sampling[groups_.at.stage()], batch, duties);
        const at::Tensor shared = at::full({1}, token, at::kLong);
        world_.broadcast(shared, source).wait();
        sampler.append(shared.item<std::int64_t>());
    }
    return sampler.drawn();
}

Trainer::Trainer(const Job& job, comms::Communicator& world, TrainerOptions options)
    : impl_(std::make_unique<Impl>(job, world, std::move(options))) {}
Trainer::~Trainer() = default;

StepRecord Trainer::step() { return impl_->step(nullptr); }
StepRecord Trainer::step(partition::StepTimes& times) { return impl_->step(&times); }
double Trainer::evaluate() { return impl_->evaluate(); }
bool Trainer::has_validation_data() const { return impl_->validation_.has_value(); }
std::vector<std::int64_t> Trainer::sample() { return impl_->sample(); }
std::vector<std::string> Trainer::warnings() const {
    std::vector<std::string> all = impl_->train_->warnings();
    if (impl_->validation_)
        all.insert(all.end(), impl_->validation_->warnings().begin(), impl_->validation_->warnings().end());
    return all;
}
std::int64_t Trainer::steps_done() const { return impl_->steps_done_; }
const partition::Plan& Trainer::plan() const { return impl_->plan_; }
const partition::ModuleGraph& Trainer::graph() const { return impl_->graph_; }
partition::Coordinate Trainer::coordinate() const { return impl_->groups_.at; }
int Trainer::peak_active_microbatches() const { return impl_->executor_->peak_active(); }

std::vector<std::string> Trainer::parameter_names() const { return runtime::parameter_names(impl_->job_.model); }

partition::MemoryUse Trainer::memory() const { return impl_->memory_; }
std::int64_t Trainer::optimizer_bytes() const { return impl_->optimizer_->bytes(); }

at::Tensor Trainer::gather_value(const std::string& name) {
    impl_->complete(Tensors::values);
    return gather_parameter(*impl_->stage_, impl_->groups_, impl_->plan_, impl_->job_.model, name, Tensors::values);
}

at::Tensor Trainer::gather_gradient(const std::string& name) {
    impl_->complete(Tensors::gradients);
    return gather_parameter(*impl_->stage_, impl_->groups_, impl_->plan_, impl_->job_.model, name, Tensors::gradients);
}

}  // namespace smp::runtime
