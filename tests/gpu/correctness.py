"""Part 1: is it right? Checks that know nothing of each other; each has a time limit and one outcome."""
import concurrent.futures
import dataclasses
import json
import os
import re
import shutil
import threading
import time
import traceback

import compare
import jobs
import process
from bundle import MPIRUN, last_json, read_steps
from outcome import FAIL, NOTED, PASS, SKIP, Outcome

FP32 = dict(NVIDIA_TF32_OVERRIDE="0")  # no library may round to TF32
GOLDEN = ("tiny", "odd", "untied")
LAYOUTS = {"1·1·1": (1, 1, 1), "2·2·1": (2, 2, 1), "1·2·2": (1, 2, 2)}  # pipeline · tensor · data
DETERMINISTIC = ["training.deterministic=true"]
NEUTRAL = {  # what must not change a bit of data degree 1, or of 2
    "recompute each": (1, dict(activation_checkpointing="each")),
    "recompute group_2": (1, dict(activation_checkpointing="group_2")),
    "recompute contiguous": (1, dict(activation_checkpointing="contiguous")),
    "recompute selective": (1, dict(activation_checkpointing="selective")),
    "offload": (1, dict(activation_checkpointing="each", offload_activations=True)),
    "offload, horizon 1": (1, dict(activation_checkpointing="group_2", offload_activations=True, activation_loading_horizon=1)),
    "pipeline of 2": (1, dict(pipeline_parallel_degree=2)),
    "sharded optimizer": (2, dict(shard_optimizer_state=True)),
}


@dataclasses.dataclass
class Check:
    name: str
    limit: float  # seconds
    run: object  # (Context, folder of its own, seconds) -> Outcome


class Context:
    """What checks share: the bundle, and runs that several of them are held against."""

    def __init__(self, bundle, work):
        self.bundle, self.work = bundle, work
        self._runs, self._lock, self._locks = {}, threading.Lock(), {}

    def golden_folder(self, name):
        return self.bundle.path("tests", "golden", name)

    def shared_run(self, name, make):
        """The steps that `make(folder)` returns; made once, by whoever asks first. An error is everybody's."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._runs:
                try:
                    self._runs[name] = make(os.path.join(self.work, "shared " + name))
                except Refused as error:
                    self._runs[name] = error
        if isinstance(self._runs[name], Refused):
            raise self._runs[name]
        return self._runs[name]


class Refused(Exception):
    """A run that a check needs did not end well."""


def steps_of(ended_and_steps):
    """Of a training that must have ended well."""
    ended, steps = ended_and_steps
    if ended.exit_code != 0:
        raise Refused(f"smp_train: {ended.why()}: {compare.tail(ended.output)}")
    return steps


def test_binary(name, pattern):
    def run(context, folder, seconds):
        ended = process.run([context.bundle.program(name), f"--gtest_filter={pattern}"], seconds, context.bundle.environment | FP32)
        if ended.exit_code is None:
            return Outcome(FAIL, f"ran past {seconds:.0f} s: {compare.tail(ended.output)}")
        outcome = compare.of_google_tests(ended.output, ended.exit_code)
        if context.bundle.device == "cuda" and outcome.status == SKIP:
            return Outcome(FAIL, f"{name} sees no GPU, or was built without CUDA: {outcome.reason}", outcome.numbers)
        return outcome
    return run


def golden(case, layout):
    def run(context, folder, seconds):
        pp, tp, rdp = LAYOUTS[layout]
        source = context.golden_folder(case)
        job = jobs.golden(source, dict(pipeline_parallel_degree=pp, tensor_parallel_degree=tp))
        steps = steps_of(context.bundle.train(job, folder, seconds, ranks=pp * tp * rdp, environment=FP32))
        with open(os.path.join(source, "training.json")) as file:
            return compare.with_golden(steps, json.load(file))
    return run


def short_run(context, folder, seconds, parallel, ranks):
    """Six steps with dropout: what is computed again must draw the same masks."""
    job = jobs.golden(context.golden_folder("tiny"), parallel, steps=6)
    job["model"] |= dict(resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1)
    return steps_of(context.bundle.train(job, folder, seconds, ranks=ranks, sets=DETERMINISTIC, environment=FP32))


def neutral(name):
    def run(context, folder, seconds):
        degree, parallel = NEUTRAL[name]
        plain = context.shared_run(f"plain on {degree}", lambda shared: short_run(context, shared, seconds, {}, degree))
        ranks = degree * parallel.get("pipeline_parallel_degree", 1)
        return compare.same_bits(short_run(context, folder, seconds, parallel, ranks), plain)
    return run


def deterministic(context, folder, seconds):
    plain = context.shared_run("plain on 1", lambda shared: short_run(context, shared, seconds, {}, 1))
    return compare.same_bits(short_run(context, folder, seconds, {}, 1), plain)


def bf16(context, folder, seconds):
    job = lambda **parallel: jobs.golden(context.golden_folder("tiny"), parallel, steps=200)
    exact = steps_of(context.bundle.train(job(), folder, seconds, environment=FP32))
    return compare.within_share(steps_of(context.bundle.train(job(bf16=True), folder + " bf16", seconds)), exact, 0.005)


def overflow(context, folder, seconds):
    """A loss scale that fp16 cannot bear: no update is made, and the search on the device names the first place."""
    job = jobs.golden(context.golden_folder("tiny"), dict(fp16=True), steps=2, warmup_steps=0, loss_scale=dict(initial=2**40))
    ended, steps = context.bundle.train(job, folder, seconds, steps=2)
    said = re.findall(r"step 1 made no update: .* overflowed in fp16 on rank 0 .*", ended.output)
    found = ended.exit_code == 0 and len(steps) == 2 and steps[-1]["skipped_updates"] == 2 and said
    return Outcome(PASS if found else FAIL, said[0] if said else f"{ended.why()}, {len(steps)} steps: {compare.tail(ended.output)}")


def memory(parallel):
    def run(context, folder, seconds):
        model, microbatch = ("124M", 8) if context.bundle.device == "cuda" else ("tiny", 2)
        job = jobs.on_tokens(jobs.SHAPES[model], context.bundle.tokens(), microbatch, 2, 1000, parallel)
        ended, steps = context.bundle.train(job, folder, seconds, steps=4)
        if len(steps) < 4:
            return Outcome(FAIL, f"smp_train: {ended.why()} after {len(steps)} of 4 steps: {compare.tail(ended.output)}")
        return compare.with_forecast(steps, 0.03)
    return run


def sanitizer(tool):
    def run(context, folder, seconds):
        program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
        if context.bundle.device != "cuda" or program is None:
            return Outcome(SKIP, "nothing runs on a GPU" if context.bundle.device != "cuda" else "there is no compute-sanitizer")
        job = jobs.golden(context.golden_folder("tiny"), dict(microbatches=1), steps=1, warmup_steps=0, global_batch_size=1)
        before = [program, "--tool", tool, "--target-processes", "all", "--error-exitcode", "99"]
        ended, steps = context.bundle.train(job, folder, seconds, before=before, steps=None)
        said = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", ended.output)
        if ended.exit_code is None:
            return Outcome(NOTED, f"not done in {seconds:.0f} s; the last words were: {compare.tail(ended.output, 3)}")
        clean = ended.exit_code == 0 and len(steps) == 1 and said and all(" SUMMARY: 0 " in line for line in said)
        return Outcome(PASS if clean else FAIL, said[0] if clean else f"{ended.why()}, {len(steps)} steps: {compare.tail(ended.output)}")
    return run


def two_nccl_ranks(context, folder, seconds):
    """Refused by NCCL on one GPU, unless each says that it is on a host of its own: ours must train where PyTorch's pair works."""
    if context.bundle.device != "cuda":
        return Outcome(SKIP, "NCCL moves bytes between GPUs")
    os.makedirs(folder)
    with open(os.path.join(folder, "job.json"), "w") as file:
        json.dump(jobs.golden(context.golden_folder("tiny"), dict(pipeline_parallel_degree=2)), file)
    rank = 'NCCL_HOSTID=host$OMPI_COMM_WORLD_RANK exec "$0" "$@"'
    plain = context.bundle.python("nccl_pair.py", [], seconds / 2)
    ended = process.run([context.bundle.program("mpirun"), *MPIRUN, "-np", 2, "-x", "NCCL_SOCKET_IFNAME=lo", "sh", "-c", rank,
                         context.bundle.program("smp_train"), "--config", os.path.join(folder, "job.json"), "--output", os.path.join(folder, "run"),
                         *context.bundle.on_device(ranks=2)], seconds / 2, context.bundle.environment | FP32)
    steps = read_steps(os.path.join(folder, "run", "metrics.jsonl"))
    with open(os.path.join(context.golden_folder("tiny"), "training.json")) as file:
        ours, waits = compare.with_golden(steps, json.load(file)), compare.with_waits(steps)
    trained = ended.exit_code == 0 and ours.status == waits.status == PASS
    said = "trained as the reference did" if trained else f"{ended.why()}; {ours.reason}; {waits.reason}; {compare.tail(ended.output, 4)}"
    found = last_json(plain.output)
    works = found is not None and found["said"] == "added up"
    return Outcome(PASS if trained else FAIL if works else NOTED,
                   f"PyTorch's pair: {found['said'] if found else compare.tail(plain.output, 4)}. smp_train's: {said}", waits.numbers)


def checks():
    """Most telling first."""
    yield Check("kernels against fp64", 90, test_binary("smp_models_tests", "KernelsCuda*"))
    yield from (Check(f"golden {case} on {layout}", 60, golden(case, layout)) for layout in LAYOUTS for case in GOLDEN)
    yield Check("two runs, the same bits", 60, deterministic)
    yield from (Check(f"the same bits: {name}", 60, neutral(name)) for name in NEUTRAL)
    yield Check("peak memory within 3 %: bf16", 60, memory(dict(bf16=True)))
    yield Check("peak memory within 3 %: bf16, recompute each", 60, memory(dict(bf16=True, activation_checkpointing="each")))
    yield Check("bf16 within 0.5 % of fp32, 200 steps", 90, bf16)
    yield Check("an overflow in fp16 is found", 60, overflow)
    yield Check("threads on CUDA tensors, and a group of one", 60, test_binary("smp_comms_tests", "*/nccl_1*:*/cuda_threads_*"))
    yield Check("memcheck of a step", 100, sanitizer("memcheck"))
    yield Check("racecheck of a step", 100, sanitizer("racecheck"))
    yield Check("two NCCL ranks on one GPU", 60, two_nccl_ranks)


def run(bundle, record, budget, work, only, at_a_time):
    """Runs the checks whose name has `only` in it, `at_a_time` of them beside each other, and records each as it ends."""
    context, lock = Context(bundle, work), threading.Lock()
    slower = 1 if bundle.device == "cuda" else 5  # the limits are a GPU's; a CPU is shared with others

    def one(number, check):
        begin, limit = time.monotonic(), budget.limit(slower * check.limit, least=5)
        if limit is None:
            outcome = Outcome(SKIP, "no time was left")
        else:
            try:
                outcome = check.run(context, os.path.join(work, f"check {number}"), limit)
            except Refused as error:
                outcome = Outcome(FAIL, str(error))
            except Exception:  # a check that breaks is a check that fails; the others go on
                outcome = Outcome(FAIL, traceback.format_exc(limit=-2))
        with lock:
            record.add(check.name, outcome, time.monotonic() - begin, limit)
            print(f"{outcome.status:<5} {check.name}", flush=True)

    wanted = [check for check in checks() if only in check.name]
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(one, range(len(wanted)), wanted))
