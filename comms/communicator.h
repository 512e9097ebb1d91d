// Moving tensors between ranks. A Communicator is one group of ranks; every rank of the group calls its collectives in
// the same order.
//
// Errors: a wait that passes its deadline, a peer that failed and an error of the library below throw
// CommunicationError; after that the communicator and its relatives (parents, splits) only throw, at once, with the
// first reason. Wrong arguments (shape, dtype, device, rank) throw std::logic_error before anything moves and leave
// everything usable. Threads: one rank's communicators, and the Works that they returned, are used by one thread at a
// time. Memory: tensors are contiguous. An operation keeps its tensors alive, so memory that a tensor does not own
// (from_blob) must outlive it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace smp::comms {

/// A wait ran past its limit, or a peer or the library below failed. `by_peer`: another rank's failure is the cause;
/// the message then says which rank and what it said.
class CommunicationError : public std::runtime_error {
  public:
    explicit CommunicationError(const std::string& message, bool by_peer = false)
        : std::runtime_error(message), by_peer_(by_peer) {}
    bool by_peer() const { return by_peer_; }

  private:
    bool by_peer_;
};

class Operation;  // comms/progress.h: what a backend implements
class Progress;

/// An operation in flight. Move-only; it must be waited for: destroying an incomplete one is a mistake of the caller
/// that every later call on the communicator reports (while unwinding from an exception it is silent).
class [[nodiscard]] Work {
  public:
    Work() = default;  // complete
    Work(std::shared_ptr<Operation> operation, std::shared_ptr<Progress> progress);
    Work(Work&& other) noexcept;
    Work& operator=(Work&& other) noexcept;
    ~Work();

    /// Moves the operation on without blocking; true once complete.
    bool test();
    /// Blocks until complete, at most the communicator's limit. Whatever else this rank has in flight moves on
    /// meanwhile. The message of a time-out names the operation, the group, the limit and its key, what this rank was
    /// doing, and follows the waits to the rank that holds the others up (comms/inquiry.h).
    void wait();
    /// What the current stream is given from now on starts behind the operation and may use its results; its tensors
    /// are the caller's again in the order of that stream. The host goes on at once where the backend works on streams,
    /// and waits as wait() does where it does not.
    void join();

    /// For operations made of others: hands the operation and the duty to complete it over. Null if it is complete.
    std::shared_ptr<Operation> release();

  private:
    void drop() noexcept;

    std::shared_ptr<Operation> operation_;
    std::shared_ptr<Progress> progress_;
    int exceptions_at_start_ = 0;
};

enum class Reduction { sum, max };

/// What all_reduce and reduce_scatter, below, ask of a backend.
struct ReduceRequest {
    enum class Result { everywhere, scattered };
    Result result;
    Reduction reduction;
    at::Tensor output;  // everywhere: the same tensor as `input`
    at::Tensor input;
    at::Tensor scratch;  // uint8 [n]: where what arrives from others may lie; too short or undefined: memory of its own
};

/// Of any one wait.
struct WaitLimit {
    std::chrono::milliseconds time{600'000};
    std::string key = {};  // what sets it, for messages: "cluster.timeout_seconds"
};

struct CommunicatorOptions {
    WaitLimit limit = {};
    /// Of mpi_world(), which fails where MPI does not start within the limit because a rank of the job has not come:
    /// called on another thread with a sentence for a person; it must end the process, since nothing brings MPI's own
    /// functions back. Empty: mpi_world() waits as long as MPI does.
    std::function<void(const std::string&)> on_late_start = {};
};

class Communicator {
  public:
    virtual ~Communicator() = default;

    virtual int rank() const = 0;
    virtual int size() const = 0;
    /// What the group is for, in messages: "world", "tensor", …
    virtual const std::string& name() const = 0;
    /// Whether reductions take no memory of a rank's beside the tensors, as where ranks reach each other's.
    virtual bool reduces_in_place() const = 0;
    /// Of the world, for a rank of this group: messages name ranks by it.
    virtual int world_rank(int rank) const = 0;

    /// Collective, blocking. Ranks of equal `color` (>= 0) form a new group, ordered by `key`, then by rank here.
    virtual std::unique_ptr<Communicator> split(int color, int key, const std::string& name) = 0;

    // Point to point, asynchronous. Equal numbers of bytes on both sides. First in, first out for each pair and
    // direction. `tensor` must stay untouched (send) or unread (receive) until the Work is complete. A send may
    // complete only when the receiver has posted (rendezvous).
    virtual Work send(const at::Tensor& tensor, int peer) = 0;
    virtual Work receive(at::Tensor tensor, int peer) = 0;

    // Collectives that only move bytes, asynchronous. Numbers of elements and dtypes are the same on all ranks.
    /// `output` has size() times the elements of `input`, rank by rank. `input` may be the own piece of `output`.
    virtual Work all_gather(at::Tensor output, const at::Tensor& input) = 0;
    /// Piece i of `input` (size() equal pieces) goes to rank i; piece i of `output` comes from rank i. They do not
    /// overlap.
    virtual Work all_to_all(at::Tensor output, const at::Tensor& input) = 0;
    virtual Work broadcast(at::Tensor tensor, int root) = 0;
    /// For all_reduce and reduce_scatter, which check the arguments and spare groups of one.
    virtual Work reduce(const ReduceRequest& request) = 0;
    /// Blocking.
    virtual void barrier() = 0;

    /// Moves on whatever is in flight on this rank, in relatives too, without blocking: called at operator boundaries.
    /// Costs some tens of nanoseconds when nothing is.
    virtual void progress() = 0;

    /// Makes every rank of the world fail in its present or next wait, with this reason; where ranks are processes,
    /// ends them all with `exit_code`, this one included. Not collective, callable from any thread once something went
    /// wrong.
    virtual void abort(const std::string& reason, int exit_code) noexcept = 0;
    /// Whether a rank of the world is known to have failed. Callable from any thread. False where a failure ends all
    /// ranks at once.
    virtual bool has_failed() const noexcept { return false; }

    /// Whether this rank is to tell of a failure that it has met: where several fail, one does. Blocks for up to two
    /// seconds; not for a rank whose wait has run out, which knows. Not collective.
    bool speaks_for_all() noexcept;

    /// The limit of any one wait of this rank from now on, in the communicator's relatives too. Local.
    void set_limit(const WaitLimit& limit);
    /// Where each rank of the world stands in the job, for messages: "pp 1, tp 0, rdp 0". Local.
    void name_places(std::vector<std::string> places);

    /// What this rank has in flight: for backends that decorate others.
    virtual const std::shared_ptr<Progress>& in_flight() const = 0;
};

// Reductions. The pieces of all ranks are added in rank order (0 first), so the result is the same on every rank, on
// every backend and in every run. fp32, fp64, int32, int64; fp16 and bf16 are added in fp32 and rounded once. A maximum
// with a NaN is NaN. In groups of one they do nothing but copy where they must.

/// `scratch`, where it is given, is used until the Work is complete, and should have what a rank receives: the others'
/// pieces, or tensors (comms/collectives/message_collectives.h).

/// In place. Moves 2·(size() − 1)/size() of the tensor's bytes in and out of each rank, as a ring does. numel need not
/// divide by size().
Work all_reduce(Communicator& group, at::Tensor tensor, Reduction reduction = Reduction::sum, at::Tensor scratch = {});
/// `output` gets this rank's piece of the sum of all `input`s: input.numel() = size() · output.numel(). `output` may be
/// the own piece of `input`; the rest of `input` is left as it was.
Work reduce_scatter(Communicator& group, at::Tensor output, const at::Tensor& input,
                    Reduction reduction = Reduction::sum, at::Tensor scratch = {});

/// What its rank is doing while it lives, for messages about waits: of those that nest, the innermost. `text` is called
/// when somebody asks, on the rank's thread.
class Activity {
  public:
    Activity(Communicator& communicator, std::function<std::string()> text)
        : Activity(*communicator.in_flight(), std::move(text)) {}
    Activity(Progress& progress, std::function<std::string()> text);
    ~Activity();
    Activity(const Activity&) = delete;
    Activity& operator=(const Activity&) = delete;
    std::string text() const { return text_(); }

  private:
    Progress& progress_;
    const Activity* outer_;
    std::function<std::string()> text_;
};

/// n ranks in this process, one thread each, over CPU or CUDA tensors; element i belongs to rank i. A rank that aborts
/// makes all others' waits throw at once, with its reason.
std::vector<std::unique_ptr<Communicator>> local_world(int ranks, const CommunicatorOptions& options = {});
/// Is this process under mpirun (or srun)? Looks at the environment only.
bool launched_by_mpi();
/// The processes of this MPI job, over CPU tensors. Initialises MPI, with MPI_THREAD_MULTIPLE where there is; the last
/// of the world and its splits to be destroyed finalises it, unless something failed. Once a process.
std::unique_ptr<Communicator> mpi_world(const CommunicatorOptions& options = {});

}  // namespace smp::comms
