// Training of one model by the ranks of a world: the library behind smp_train.
//
//     auto world = comms::mpi_world();                 // or one element of comms::local_world(n) in each of n threads
//     runtime::Trainer trainer(job, *world);           // collective
//     while (trainer.steps_done() < job.training.steps) {
//         runtime::StepRecord record = trainer.step();  // collective; the same numbers on every rank
//     }
//
// Everything is collective over the world unless said otherwise: every rank makes the same calls in the same order.
// After a CommunicationError a trainer can only be destroyed. Every other failure that the constructor and step() say
// here is thrown by all ranks at the same place, with the message of the lowest rank that failed (each is an
// AgreedFailure too: runtime/agreement/agreement.h), and leaves the world usable. runtime/session.h is the whole loop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comms/communicator.h"
#include "partition/foresight/action_times.h"
#include "partition/job/module_graph.h"
#include "partition/plan/plan.h"
#include "runtime/checkpoint/checkpoint_writer.h"
#include "runtime/execution/executor.h"
#include "runtime/execution/text_sampler.h"
#include "runtime/job/job.h"
#include "runtime/machine/rank_place.h"
#include "runtime/records/step_record.h"
#include "runtime/state/training_state.h"

namespace smp::runtime {

/// What a trainer may be given beside its job.
struct TrainerOptions {
    /// Executed in place of the plan that is made from the job; it must be of the same model, degrees and microbatches.
    /// It is checked alike.
    std::optional<partition::Plan> plan = {};
    ExecutorOptions executor = {};
    /// load() comes before anything else: no initial weights are drawn or read, all values are zero until then.
    bool loads_first = false;
    /// For text and logits alone: no data are opened, data.train may be empty, and there are neither steps nor
    /// evaluations.
    bool has_data = true;
    /// Where the tokens of plain text are kept from one run to the next (token_cache.h), and nothing else; empty: in
    /// memory.
    std::filesystem::path token_folder = {};
    /// On rank 0: gets a sentence every few seconds while the start takes long.
    std::function<void(const std::string&)> tell = {};
    /// On CUDA, where a rank that has failed may be held up by its device before its caller can catch anything: called
    /// with the failure as soon as it is known and ahead of all that waits for the device, by the rank's thread, or, of
    /// a call of CUDA that does not come back, by another one. It should tell of it and abort the world, and must not
    /// throw. Several calls may follow, the first has the cause; what peers have told is among them (by_peer()), agreed
    /// failures are not. Empty: the exception alone tells, and where there is none the world is aborted without a word.
    std::function<void(const std::exception&)> on_failure = {};
};

class Trainer {
  public:
    /// Compares the build of the program with all other ranks', checks the job as the programs do, plans, compares
    /// plans, opens the data (plain text is tokenised once a machine, for as long as it takes), allocates and fills the
    /// weights, and compares both with all other ranks' (same_inputs.h). `world` must outlive the trainer. Throws
    /// partition::ConfigError with all problems of the job (runtime/job/job_rules.h), or with the rank whose build or
    /// job differs, and the key; DataError; MemoryError where the job does not fit cluster.memory_limit_gib;
    /// CommunicationError.
    Trainer(const Job& job, comms::Communicator& world, TrainerOptions options = {});
    ~Trainer();

    /// One training step on the next global batch. validation_loss is not set. With parallel.fp16 gradients that
    /// overflow skip the update, which the record counts; the first such step in a row has a notice of where. For
    /// a loss that is not finite, and for gradients that are not in fp32 and bf16, throws ConfigError: the
    /// message names the first place. So it does for the tenth step in a row that overflows with the least loss scale.
    StepRecord step();
    /// The same, and when its actions ran: those of the whole world, on rank 0.
    StepRecord step(partition::StepTimes& times);
    /// Mean loss over the first training.evaluation_batches batches of the validation data. Requires validation data.
    double evaluate();
    bool has_validation_data() const;
    /// The training data in a line: tokens, files, samples, and how often all steps together take them.
    std::string described_data() const;
    /// Sentences that a person should see: tensors of the initial weights that nothing is made of, files of data too
    /// short to give a sample.
    std::vector<std::string> warnings() const;
    /// training.sample_tokens tokens drawn after training.sample_prompt from the model as it is, keyed by
    /// (training.seed, steps done); the same on every rank.
    std::vector<std::int64_t> sample();
    /// The same for a request of one's own, keyed as it says; `drawn` gets each token as it comes. Throws
    /// partition::ConfigError for a prompt that the model cannot take.
    std::vector<std::int64_t> sample(const TextRequest& request,
                                     const std::function<void(std::int64_t token)>& drawn = {});
    /// Logits after each of `tokens` (int64 [T], T the job's sequence length): fp32 [T, vocabulary], on the ranks of
    /// the last stage; undefined elsewhere.
    at::Tensor logits(const at::Tensor& tokens);

    std::int64_t steps_done() const { return state().steps; }
    /// How far the training has come: all that it counts.
    const TrainingState& state() const;
    const Job& job() const;
    comms::Communicator& world() const;
    const partition::Plan& plan() const;
    /// What the plan was made from.
    const partition::ModuleGraph& graph() const;
    partition::Coordinate coordinate() const;
    /// Where each rank of the world is, by rank.
    const std::vector<RankPlace>& places() const;
    /// The most microbatches that were active on this rank at one moment so far.
    int peak_active_microbatches() const;

    /// What this rank's tensors took in the last training step: at its end, and at most.
    partition::MemoryUse memory() const;
    /// The same of its last evaluation, without the sums over the world behind it.
    partition::MemoryUse evaluation_memory() const;

    /// Of AdamW's moments on this rank: 8 a parameter, with its master copy in 16 bits 12; of its own shard alone with
    /// parallel.shard_optimizer_state.
    std::int64_t optimizer_bytes() const;

    /// A copy in host memory of what this rank has of the training's state: see checkpoint_writer.h. Local.
    Snapshot snapshot() const;
    /// Goes on from a checkpoint of any layout and precision: all that step() depends on is as it was there.
    /// Collective. Throws DataError where it is not whole or has weights that are not finite, and ConfigError where the
    /// job is of another model or tokenizer, or of a precision that cannot hold the weights; then another checkpoint
    /// must be loaded before anything else is done. Returns what of the configuration is another than in the run that
    /// has written it: lines "key: before -> now".
    std::vector<std::string> load(const std::filesystem::path& checkpoint);

    /// Logical parameters by Hugging Face name ("h.0.ln_1.weight"), in order of the model; a tied head is not listed.
    std::vector<std::string> parameter_names() const;
    /// The whole tensor as trained with (in 16 bits the rounded values, not AdamW's masters), unpadded, fp32 on the
    /// CPU, on rank 0; undefined elsewhere.
    at::Tensor gather_value(const std::string& name);
    /// Gradient of the last step, likewise: the sum over the global batch, after clipping and without the loss scale.
    /// Where the update was skipped, it is as it overflowed, with the scale.
    at::Tensor gather_gradient(const std::string& name);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace smp::runtime
