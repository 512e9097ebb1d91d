#include "runtime/trainer.h"

#include <chrono>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "partition/foresight/memory_forecast.h"
#include "partition/job/problem.h"
#include "runtime/agreement/agreement.h"
#include "runtime/agreement/data_start.h"
#include "runtime/agreement/devices.h"
#include "runtime/agreement/program_version.h"
#include "runtime/agreement/same_inputs.h"
#include "runtime/checkpoint/configurations.h"
#include "runtime/checkpoint/pieces.h"
#include "runtime/execution/batch_reader.h"
#include "runtime/execution/executor.h"
#include "runtime/execution/gathered_times.h"
#include "runtime/execution/non_finite_report.h"
#include "runtime/execution/sampling.h"
#include "runtime/execution/step_watch.h"
#include "runtime/execution/text_sampler.h"
#include "runtime/execution/training_snapshot.h"
#include "runtime/execution/warm_up.h"
#include "runtime/files/data_error.h"
#include "runtime/job/job_plan.h"
#include "runtime/job/job_rules.h"
#include "runtime/stage/device_watch.h"
#include "runtime/stage/initial_weights.h"
#include "runtime/stage/memory_error.h"
#include "runtime/stage/parameter_collection.h"
#include "runtime/stage/rank_groups.h"
#include "runtime/stage/stage.h"
#include "runtime/update/stage_exchange.h"
#include "runtime/update/update.h"
#include "runtime/update/world_sum.h"

namespace smp::runtime {

namespace {

/// Steps in a row that overflow with the least loss scale before the job ends: nothing would mend them.
constexpr std::int64_t kMostOverflowsAtMinimum = 10;

}  // namespace

class Trainer::Impl {
  public:
    Impl(const Job& job, comms::Communicator& world, TrainerOptions options);

    StepRecord step(partition::StepTimes* times);
    double evaluate();
    std::vector<std::int64_t> sample(const TextRequest& request, const std::function<void(std::int64_t)>& drawn);
    at::Tensor logits(const at::Tensor& tokens);
    Snapshot snapshot() const;
    std::vector<std::string> load(const std::filesystem::path& folder);

    const models::ModelSpec& spec() const { return *job_.model.spec; }

    Job job_;
    comms::Communicator& world_;
    partition::Plan plan_;
    partition::ModuleGraph graph_;
    Placement placement_;
    MemoryMeter meter_;
    partition::MemoryUse memory_;             // in the last step
    partition::MemoryUse evaluation_memory_;  // in the last evaluation
    std::optional<Dataset> train_, validation_;
    std::vector<std::string> weight_warnings_, data_warnings_;
    std::function<void(const std::exception&)> on_failure_;  // on CUDA
    RankGroups groups_;
    std::unique_ptr<DeviceWatch> device_watch_;  // on CUDA
    BatchCut cut_;
    std::optional<BatchReader> batches_;
    std::optional<Stage> stage_;
    std::optional<StageExchange> exchange_;
    std::optional<Update> update_;
    std::optional<Executor> executor_;
    std::optional<StepWatch> watch_;
    TrainingState state_;
    std::vector<HistoryEntry> history_;  // of the state
    std::int64_t predicted_memory_ = 0;  // of the largest rank: what the plan knows
    double gradient_factor_ = 1;         // of the gradients of the last step: see UpdateResult

    /// While it lives, what this rank does goes to its device, and it is watched there. Not where it reads files, for
    /// as long as that takes: then the others' waits for it have a limit.
    struct OnDevice {
        c10::OptionalStreamGuard stream;
        DeviceWatch::Scope watched;
    };
    OnDevice on_device(std::string what = "the gathering of a parameter") const {
        return {.stream = groups_.device->enter(), .watched{device_watch_.get(), std::move(what)}};
    }
    OnDevice reading_files() const { return {.stream = groups_.device->enter(), .watched{nullptr, {}}}; }

    /// Tells of what `body` throws before that leaves the trainer, whose end waits for the device.
    template <typename Body>
    auto telling(Body body) const {
        try {
            return body();
        } catch (const std::exception& error) {
            if (on_failure_ && dynamic_cast<const AgreedFailure*>(&error) == nullptr) on_failure_(error);
            throw;
        }
    }

  private:
    void prepare_locally(TrainerOptions& options);
    void prepare_on_device(TrainerOptions& options);
    RankParts parts() {
        return {.stage = *stage_, .groups = groups_, .meter = meter_, .exchange = *exchange_, .update = *update_};
    }
    /// What ranks compare, and checkpoints keep.
    std::string configuration() const {
        return job_.canonical_text.empty() ? spec().canonical_text() : job_.canonical_text;
    }
    RankTensors tensors() const {
        return {
            .plan = plan_, .model = spec(), .rank = world_.rank(), .stage = *stage_, .optimizer = update_->optimizer()};
    }
    partition::Transport transport() const;
    std::vector<models::Microbatch> microbatches(const Dataset& data, std::int64_t first_sample, bool training);
    double tokens_per_batch() const { return static_cast<double>(cut_.global_batch * cut_.length); }
};

Trainer::Impl::Impl(const Job& job, comms::Communicator& world, TrainerOptions options)
    : job_(job),
      world_(world),
      meter_(memory_limit(job.cluster)),
      state_(first_state(job.training, partition::precision_of(job.parallel))) {
    const comms::Activity activity(world_, [] { return std::string("the preparation of the training"); });
    require_same_program(world_, program_version());
    placement_ = choose_placement(world_, job_.cluster);
    // No longer automatic: what the head makes at once, and so the forecast, depends on it.
    job_.cluster.device = placement_.device.is_cuda() ? partition::Device::cuda : partition::Device::cpu;
    fail_together(world_, [&] { prepare_locally(options); });
    require_equal_text(world_, fmt::format("{}\nplan={:016x}\n", configuration(), partition::hash_of(plan_)));

    if (options.has_data) {
        OpenedData opened = open_data(world_,
                                      {.data = job_.data,
                                       .vocabulary = spec().vocabulary(),
                                       .sequence_length = cut_.length,
                                       .seed = job_.training.seed,
                                       .token_folder = options.token_folder},
                                      options.tell);
        train_ = std::move(opened.train);
        validation_ = std::move(opened.validation);
        data_warnings_ = std::move(opened.warnings);
    }
    std::vector<const Dataset*> data;
    for (const auto* set : {&train_, &validation_})
        if (*set) data.push_back(&**set);
    require_same_data(world_, data);

    history_ = {{.after = 0, .by = "training", .from = job_.training.initial_weights, .layout = layout_text(plan_)}};
    if (placement_.device.is_cuda()) on_failure_ = std::move(options.on_failure);
    telling([&] { prepare_on_device(options); });
}

void Trainer::Impl::prepare_on_device(TrainerOptions& options) {
    groups_ = make_groups(plan_, world_, placement_,
                          job_.training.deterministic ? comms::NcclSums::in_rank_order : comms::NcclSums::native,
                          on_failure_);
    if (placement_.device.is_cuda()) {
        const auto limit = std::chrono::duration<double>(job_.cluster.timeout_seconds);
        device_watch_ = std::make_unique<DeviceWatch>(
            groups_, DeviceWatch::Options{.limit = std::chrono::duration_cast<std::chrono::milliseconds>(limit),
                                          .limit_key = "cluster.timeout_seconds",
                                          .doing = [this] { return meter_.doing(); },
                                          .on_failure = on_failure_});
    }
    const auto device = reading_files();
    cut_.replica = groups_.at.rdp;
    batches_.emplace(cut_, token_needs(plan_, groups_.at), /*pinned=*/placement_.device.is_cuda());
    if (placement_.device.is_cuda()) meter_.count_device_allocations();
    meter_.with_device_memory([&] {
        stage_.emplace(job_.model, plan_, groups_, meter_, job_.parallel, placement_.device);
        exchange_.emplace(groups_, *stage_, meter_, plan_.training[groups_.at.stage()], plan_.shard_optimizer_state);
        {
            const MemoryMeter::Scope scope(meter_, partition::MemoryCategory::optimizer);
            update_.emplace(groups_, *stage_, job_.training, plan_.shard_optimizer_state, tokens_per_batch());
        }
        executor_.emplace(plan_, graph_.shared, parts(), std::move(options.executor));
    });
    if (groups_.nccl) {
        const DeviceWatch::Scope watched(device_watch_.get(), "the warm-up before the first step");
        warm_up(plan_, parts(), state_, cut_.microbatch_sequences(), cut_.length);
    }
    watch_.emplace(world_, places_of_ranks(world_, plan_.topology, placement_.device.str()), plan_.topology);
    if (options.loads_first) return;
    fail_together(world_, [this] {
        weight_warnings_ = set_initial_weights(
            *stage_, spec(), job_.training,
            [this](int parameter, const at::Tensor& values) { update_->start_from(parameter, values); });
    });
    require_same_values(world_, groups_.at, *stage_, graph_.shared);
}

void Trainer::Impl::prepare_locally(TrainerOptions& options) {
    if (!job_.model.spec || !job_.model.segments) throw std::logic_error("Trainer: the job has no model with segments");
    require_valid(job_, world_.size(),
                  options.has_data ? std::set<std::string>{} : std::set<std::string>{"data.train"});
    plan_ = options.plan ? std::move(*options.plan) : plan_of(job_, world_.size(), transport());
    if (const auto faults = faults_of(plan_, job_, world_.size(), transport()); !faults.empty())
        throw std::logic_error(fmt::format("the plan cannot be executed: {}", faults.front()));
    std::vector<std::string> places;
    for (int rank = 0; rank < plan_.topology.degrees.world(); ++rank)
        places.push_back(partition::to_string(partition::coordinate_of(plan_.topology, rank)));
    world_.name_places(std::move(places));
    const auto& degrees = plan_.topology.degrees;
    cut_ = {.global_batch = global_batch(job_.training, job_.parallel, degrees.rdp),
            .length = sequence_length(job_.training, spec().longest_sequence()),
            .replicas = degrees.rdp,
            .replica = 0,
            .microbatches = plan_.microbatches};
    graph_ = graph_of(job_, world_.size(), plan_.transport);
    for (const partition::StageId stage : plan_.training.ids())
        predicted_memory_ = std::max(predicted_memory_, memory_forecast(plan_, graph_, stage).device_peak);
    if (const auto limit = memory_limit(job_.cluster))
        if (const auto sentence = misfit(plan_, graph_, *limit)) throw MemoryError(*sentence);
    if (job_.training.sample_tokens > 0)  // refuses a prompt that cannot be
        TextSampler(text_request(job_.training, 0), job_, cut_.length);
}

partition::Transport Trainer::Impl::transport() const {
    const bool by_messages = placement_.device.is_cuda() && !placement_.is_shared;
    return !by_messages && world_.reduces_in_place() ? partition::Transport::shared_memory
                                                     : partition::Transport::messages;
}

std::vector<models::Microbatch> Trainer::Impl::microbatches(const Dataset& data, std::int64_t first_sample,
                                                            bool training) {
    std::vector<models::Microbatch> microbatches;
    try {
        microbatches = batches_->read(data, first_sample);
    } catch (const DataError& error) {  // a token that the model has not, a file that is not what it was
        throw DataError(training ? fmt::format("step {}: {}", state_.steps + 1, error.what())
                                 : fmt::format("evaluation after step {}: {}", state_.steps, error.what()));
    }
    for (models::Microbatch& microbatch : microbatches) {
        microbatch.seed = job_.training.seed;
        microbatch.step = static_cast<std::uint64_t>(state_.steps);
        microbatch.training = training;
        microbatch.gradient_scale = state_.scale() / tokens_per_batch();
    }
    return microbatches;
}

StepRecord Trainer::Impl::step(partition::StepTimes* times) {
    if (!train_) throw std::logic_error("Trainer::step: there are no data");
    const auto begin = std::chrono::steady_clock::now();
    watch_->begin();
    const comms::Activity activity(world_, [this, step = state_.steps + 1] {
        const std::string action = meter_.doing();
        return fmt::format("step {}{}{}", step, action.empty() ? "" : ": ", action);
    });
    const auto device = on_device(fmt::format("step {}", state_.steps + 1));
    meter_.reset_peaks();
    const auto batch = microbatches(*train_, state_.samples, /*training=*/true);
    watch_->have_batch();
    stage_->zero_gradients();
    const auto own_times = times != nullptr ? std::make_shared<partition::ActionTimes>() : nullptr;
    const RunResult run = executor_->run({.program = plan_.training[groups_.at.stage()],
                                          .microbatches = batch,
                                          .state = &state_,
                                          .times = own_times,
                                          .meanwhile = [this] {
                                              if (state_.steps + 1 < job_.training.steps)
                                                  batches_->read_ahead(*train_, state_.samples + cut_.global_batch);
                                          }});
    const UpdateResult& update = run.update.value();
    gradient_factor_ = update.gradient_factor;
    const NonFiniteReport report(plan_, job_, parts(), *executor_);
    if (!update.updated && !update.overflowed) report.refuse(state_, update.loss, batch);
    const TrainingState before = state_;
    state_ = after_step(before, cut_.global_batch, cut_.length, update.updated, job_.training);

    StepRecord record;
    record.step = state_.steps;
    record.loss = update.loss;
    record.learning_rate = update.learning_rate;
    record.grad_norm = update.grad_norm;
    record.tokens = state_.tokens;
    record.skipped_updates = state_.skipped_updates();
    if (before.loss_scale) record.loss_scale = before.scale();
    if (state_.loss_scale && state_.loss_scale->at_minimum >= kMostOverflowsAtMinimum) report.give_up(before, state_);
    if (state_.skipped_in_a_row == 1) record.notice = report.skipped(before, state_);
    memory_ = meter_.use();
    watch_->end(run.time, memory_.device_peak, record);
    // Of one rank's waits nothing follows: where one has too many, none goes on paying for them.
    if (!knows_waits(record))
        if (const auto most = executor_->stop_timing_joins())
            add_notice(record, fmt::format("warning: step {}: a rank's device waits at more than {} places in a step, "
                                           "which are too many to time: waits, bubble and stragglers stay unknown",
                                           record.step, *most));
    record.predicted_memory_bytes = predicted_memory_;
    record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    record.tokens_per_second = tokens_per_batch() / record.seconds;
    if (times != nullptr) *times = gather_times(world_, plan_, state_.steps, *own_times);
    return record;
}

double Trainer::Impl::evaluate() {
    if (!validation_) throw std::logic_error("Trainer::evaluate: there are no validation data");
    const comms::Activity activity(
        world_, [this] { return fmt::format("the evaluation after step {}: {}", state_.steps, meter_.doing()); });
    const auto device = on_device(fmt::format("the evaluation after step {}", state_.steps));
    meter_.reset_peaks();
    ExactSum losses;
    const std::int64_t batches = job_.training.evaluation_batches;
    for (std::int64_t i = 0; i < batches; ++i) {
        const auto batch = microbatches(*validation_, i * cut_.global_batch, /*training=*/false);
        const RunResult run = executor_->run({.program = plan_.evaluation[groups_.at.stage()], .microbatches = batch});
        losses.add(counted_losses(run.losses.of_microbatch, groups_.at));
    }
    evaluation_memory_ = meter_.use();
    return sum_over_world(world_, {&losses, 1}).front() / (tokens_per_batch() * static_cast<double>(batches));
}

Snapshot Trainer::Impl::snapshot() const {
    const auto device = on_device(fmt::format("the snapshot of step {}", state_.steps));
    Snapshot snapshot = take_snapshot(tensors(), state_, configuration());
    snapshot.manifest.history = history_;
    return snapshot;
}

std::vector<std::string> Trainer::Impl::load(const std::filesystem::path& folder) {
    const comms::Activity activity(world_, [&] { return "the loading of " + folder.string(); });
    const auto device = reading_files();
    ConfigurationChange change;
    TrainingState state;
    std::vector<HistoryEntry> history;
    fail_together(world_, [&] {
        Checkpoint checkpoint(folder);
        change = change_between(checkpoint.manifest().configuration, configuration());
        if (!change.refused.empty())
            throw partition::ConfigError(partition::Problem{
                "", fmt::format("{} is of another model or tokenizer ({}); go on with those, or begin anew",
                                folder.string(), fmt::join(change.refused, "; "))});
        restore(tensors(), checkpoint);
        state = checkpoint.manifest().state;
        history = checkpoint.manifest().history;
    });
    require_equal_text(world_, fmt::format("checkpoint.steps={}\n", state.steps));
    const auto fresh = first_state(job_.training, partition::precision_of(job_.parallel));
    if (!fresh.loss_scale || !state.loss_scale) state.loss_scale = fresh.loss_scale;
    state_ = state;
    history_ = std::move(history);
    history_.push_back({.after = state_.steps,
                        .by = "training",
                        .from = std::filesystem::absolute(folder).string(),
                        .layout = layout_text(plan_),
                        .changed = change.allowed});
    return change.allowed;
}

std::vector<std::int64_t> Trainer::Impl::sample(const TextRequest& request,
                                                const std::function<void(std::int64_t)>& drawn) {
    const comms::Activity activity(world_, [this] { return fmt::format("sampling after step {}", state_.steps); });
    const auto device = on_device(fmt::format("sampling after step {}", state_.steps));
    TextSampler text(request, job_, cut_.length);
    draw_text(text, cut_.length, plan_, groups_.at, *executor_, world_, drawn);
    return text.drawn();
}

at::Tensor Trainer::Impl::logits(const at::Tensor& tokens) {
    if (tokens.numel() != cut_.length) throw std::logic_error("Trainer::logits: not as many tokens as a sequence has");
    const auto device = on_device("the logits of a text");
    return logits_of(tokens, plan_, groups_.at, *executor_);
}

Trainer::Trainer(const Job& job, comms::Communicator& world, TrainerOptions options)
    : impl_(std::make_unique<Impl>(job, world, std::move(options))) {}
Trainer::~Trainer() = default;

StepRecord Trainer::step() {
    return impl_->telling([&] { return impl_->step(nullptr); });
}
StepRecord Trainer::step(partition::StepTimes& times) {
    return impl_->telling([&] { return impl_->step(&times); });
}
double Trainer::evaluate() {
    return impl_->telling([&] { return impl_->evaluate(); });
}
bool Trainer::has_validation_data() const { return impl_->validation_.has_value(); }
std::vector<std::int64_t> Trainer::sample() { return sample(text_request(impl_->job_.training, impl_->state_.steps)); }
std::vector<std::int64_t> Trainer::sample(const TextRequest& request, const std::function<void(std::int64_t)>& drawn) {
    return impl_->telling([&] { return impl_->sample(request, drawn); });
}
at::Tensor Trainer::logits(const at::Tensor& tokens) {
    return impl_->telling([&] { return impl_->logits(tokens); });
}
std::string Trainer::described_data() const {
    return described(*impl_->train_, impl_->job_.data, impl_->job_.training.steps * impl_->cut_.global_batch);
}
std::vector<std::string> Trainer::warnings() const {
    std::vector<std::string> all = impl_->weight_warnings_;
    all.insert(all.end(), impl_->data_warnings_.begin(), impl_->data_warnings_.end());
    if (!impl_->train_) return all;
    all.insert(all.end(), impl_->train_->warnings().begin(), impl_->train_->warnings().end());
    if (!impl_->validation_) return all;
    const Dataset& validation = *impl_->validation_;
    all.insert(all.end(), validation.warnings().begin(), validation.warnings().end());
    const TrainingOptions& training = impl_->job_.training;
    if (training.evaluate_every == 0) return all;
    if (auto uneven =
            uneven_use(validation, training.evaluation_batches * impl_->cut_.global_batch,
                       fmt::format("an evaluation (training.evaluation_batches = {})", training.evaluation_batches)))
        all.push_back(*std::move(uneven));
    return all;
}
const TrainingState& Trainer::state() const { return impl_->state_; }
const Job& Trainer::job() const { return impl_->job_; }
comms::Communicator& Trainer::world() const { return impl_->world_; }
const partition::Plan& Trainer::plan() const { return impl_->plan_; }
const partition::ModuleGraph& Trainer::graph() const { return impl_->graph_; }
partition::Coordinate Trainer::coordinate() const { return impl_->groups_.at; }
const std::vector<RankPlace>& Trainer::places() const { return impl_->watch_->places(); }
int Trainer::peak_active_microbatches() const { return impl_->executor_->peak_active(); }

Snapshot Trainer::snapshot() const {
    return impl_->telling([&] { return impl_->snapshot(); });
}
std::vector<std::string> Trainer::load(const std::filesystem::path& checkpoint) {
    return impl_->telling([&] { return impl_->load(checkpoint); });
}

std::vector<std::string> Trainer::parameter_names() const { return models::parameter_names(impl_->spec()); }

partition::MemoryUse Trainer::memory() const { return impl_->memory_; }
partition::MemoryUse Trainer::evaluation_memory() const { return impl_->evaluation_memory_; }
std::int64_t Trainer::optimizer_bytes() const { return impl_->update_->optimizer().bytes(); }

at::Tensor Trainer::gather_value(const std::string& name) {
    const auto device = impl_->on_device();
    return gather_parameter(*impl_->stage_, impl_->world_, impl_->plan_, impl_->spec(), name, Tensors::values);
}

at::Tensor Trainer::gather_gradient(const std::string& name) {
    const auto device = impl_->on_device();
    at::Tensor gradient =
        gather_parameter(*impl_->stage_, impl_->world_, impl_->plan_, impl_->spec(), name, Tensors::gradients);
    if (gradient.defined() && impl_->gradient_factor_ != 1) gradient.mul_(impl_->gradient_factor_);
    return gradient;
}

}  // namespace smp::runtime
