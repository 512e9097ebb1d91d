"""Part 2: how fast is it? Items in the order of their weight, each with a time limit; what does not fit into the time left is skipped."""
import dataclasses
import json
import os
import shutil
import statistics
import time
import traceback

import compare
import jobs
import kernel_table
import llmc
import process
from bundle import last_json, read_steps
from outcome import FAIL, NOTED, SKIP, Outcome

FORMULA = "MFU = tokens/s · (6·N + 6·L·h·T) / peak: N parameters, the tied head once; attention over the half that is not masked"
OUT_OF_MEMORY = 5  # the exit code of smp_train and of pytorch_trainer.py
WARM_UP = 3  # steps that do not count
TIMED_STEPS = 4  # in which kernels are timed
LAYERS = 1  # of the model whose kernels ncu looks at: a layer's are alike
MOST_LAUNCHES = 150
HEADER = ("model", "what", "tokens/s", "least – most", "MFU %", "of the measured product %", "step s", "peak GiB", "sequences × microbatches", "last loss")


class Context:
    def __init__(self, bundle, work, record):
        self.bundle, self.work, self.record = bundle, work, record
        self.rates, self.rows, self.runs = {}, {}, 0
        on_gpu = bundle.device == "cuda"
        # sequences of a microbatch, microbatches: 64 sequences of 1024 a step
        self.batches = {"124M": (32, 2), "1.5B": (8, 8)} if on_gpu else {"tiny": (2, 2)}
        self.steps = 15 if on_gpu else 6

    def new_folder(self):
        self.runs += 1
        return os.path.join(self.work, f"run {self.runs}")


def rates(context, seconds):
    ended = context.bundle.python("rates.py", ["--device", context.bundle.device], seconds)
    found = last_json(ended.output)
    if ended.exit_code != 0 or found is None:
        return Outcome(FAIL, f"{ended.why()}: {compare.tail(ended.output)}")
    context.rates = found
    return Outcome(NOTED, "", found)


def smp(context, job, seconds):
    """How it ended, its steps. All the steps that the time allows count, so that a slow run has a figure too."""
    return context.bundle.train(job, context.new_folder(), seconds, steps=job["training"]["steps"], sets=["parallel.bf16=true"])


def pytorch(mode):
    def run(context, job, seconds):
        folder = context.new_folder()
        os.makedirs(folder)
        config = os.path.join(folder, "job.json")
        with open(config, "w") as file:
            json.dump(job, file)
        ended = context.bundle.python("pytorch_trainer.py", ["--config", config, "--mode", mode, "--device", context.bundle.device], seconds)
        steps = os.path.join(folder, "metrics.jsonl")
        with open(steps, "w") as file:
            file.writelines(line + "\n" for line in ended.output.splitlines() if line.startswith("{"))
        return ended, read_steps(steps)
    return run


def beside_llmc(name):
    """llm.c trains what its own programmers chose: bf16 with fp32 master weights, cuDNN's attention where it is built with it."""
    def run(context, job, seconds):
        program = context.bundle.program("train_gpt2cu")
        ended = process.run([program, *llmc.arguments(job, context.bundle.path("data", "shakespeare_llmc.bin"))], seconds)
        if "out of memory" in ended.output:
            ended = dataclasses.replace(ended, exit_code=OUT_OF_MEMORY)
        return ended, llmc.steps(ended.output, job["training"]["global_batch_size"] * job["model"]["n_positions"])

    def measure(context, seconds):
        if context.bundle.device != "cuda" or not os.path.exists(context.bundle.program("train_gpt2cu")):
            return Outcome(SKIP, "nothing runs on a GPU" if context.bundle.device != "cuda" else "the bundle has no llm.c (launch/pack --llmc FILE)")
        return training(name, "llm.c", run)(context, seconds)
    return measure


def figures(model, steps, rates):
    """Of the steps after the warm-up: the median, and what follows from it."""
    speeds = [step["tokens_per_second"] for step in steps[WARM_UP:]]
    median = statistics.median(speeds)
    flops, peak = median * jobs.flops_per_token(model), jobs.peak_of(rates.get("device"))
    product, peaks = rates.get("product_flops_per_second"), [step["memory_bytes"] for step in steps if step.get("memory_bytes")]
    return dict(tokens_per_second=median, least=min(speeds), most=max(speeds), steps=len(speeds), mfu=peak and flops / peak,
                of_measured_product=product and flops / product, seconds_per_step=statistics.median(step["seconds"] for step in steps[WARM_UP:]),
                peak_gib=max(peaks) / 2**30 if peaks else None, last_loss=steps[-1]["loss"])


def training(name, what, run):
    def measure(context, seconds):
        model, (microbatch, microbatches) = jobs.SHAPES[name], context.batches[name]
        end, noted = time.monotonic() + seconds, []
        while True:  # the same global batch, in smaller microbatches where memory does not suffice
            job = jobs.on_tokens(model, context.bundle.tokens(), microbatch, microbatches, context.steps)
            ended, steps = run(context, job, max(1.0, end - time.monotonic()))
            if ended.exit_code != OUT_OF_MEMORY or microbatch == 1:
                break
            noted.append(f"{microbatch} sequences a microbatch did not fit")
            microbatch, microbatches = microbatch // 2, microbatches * 2
        if ended.exit_code not in (None, 0) or len(steps) <= WARM_UP:
            return Outcome(FAIL, f"{ended.why()} after {len(steps)} steps: {compare.tail(ended.output)}")
        if len(steps) < context.steps:
            noted.append(f"{len(steps)} of {context.steps} steps in the time")
        found = figures(model, steps, context.rates) | dict(microbatch=microbatch, microbatches=microbatches)
        context.rows[name, what] = found
        in_percent = lambda share: share and 100 * share
        context.record.add_table("Training in bf16", HEADER, [
            [of, who, row["tokens_per_second"], f"{row['least']:.0f} – {row['most']:.0f}", in_percent(row["mfu"]), in_percent(row["of_measured_product"]),
             row["seconds_per_step"], row["peak_gib"], f"{row['microbatch']} × {row['microbatches']}", row["last_loss"]]
            for (of, who), row in context.rows.items()])
        context.record.add_table("Ratios of tokens/s", ("model", "beside", "smp over it"), [
            [of, who, context.rows[of, "smp"]["tokens_per_second"] / row["tokens_per_second"]]
            for (of, who), row in context.rows.items() if who != "smp" and (of, "smp") in context.rows])
        return Outcome(NOTED, "; ".join(noted), found)
    return measure


def kernels(name):
    def measure(context, seconds):
        library = context.bundle.path("lib", "libsmp_kernel_times.so")
        if context.bundle.device != "cuda" or not os.path.exists(library):
            return Outcome(SKIP, "nothing runs on a GPU" if context.bundle.device != "cuda" else f"the bundle has no {library}")
        microbatch, microbatches = context.batches[name]
        job = jobs.on_tokens(jobs.SHAPES[name], context.bundle.tokens(), microbatch, microbatches, TIMED_STEPS)
        path = os.path.join(context.work, "times.tsv")
        ended, steps = context.bundle.train(job, context.new_folder(), seconds / 2, sets=["parallel.bf16=true"],
                                            environment=dict(CUDA_INJECTION64_PATH=library, SMP_KERNEL_TIMES=path))
        if ended.exit_code != 0 or not os.path.exists(path):
            return Outcome(FAIL, f"{ended.why()}, and no kernel was seen: {compare.tail(ended.output)}")
        with open(path) as file:
            times = kernel_table.of_times(file.read(), TIMED_STEPS)
        limits, why = limits_of_kernels(context, name, seconds - ended.seconds)
        title = f"Kernels of a step of {name}, {microbatches} microbatches of {microbatch}; limits from a model of {LAYERS} layer"
        context.record.add_table(title, kernel_table.HEADER, kernel_table.rows(times, limits)[:40])
        busy = sum(kernel["microseconds"] for kernel in times.values())
        return Outcome(NOTED, why, dict(kernels=len(times), launches=sum(kernel["calls"] for kernel in times.values()), milliseconds_a_step=busy / 1e3))
    return measure


def limits_of_kernels(context, name, seconds):
    """By ncu, which runs each kernel several times over, so of a smaller model. With none: why."""
    program = shutil.which("ncu") or shutil.which("ncu", path="/usr/local/cuda/bin")
    if program is None:
        return {}, "there is no ncu (Nsight Compute), and so no limits"
    microbatch, _ = context.batches[name]
    job = jobs.on_tokens(jobs.SHAPES[name] | dict(n_layer=LAYERS), context.bundle.tokens(), microbatch, 1, 1)
    table = os.path.join(context.work, "kernels.csv")  # ncu writes it when the program has ended by itself
    before = [program, "--target-processes", "all", "--csv", "--log-file", table, "--clock-control", "none", "--launch-count", MOST_LAUNCHES,
              "--metrics", ",".join(kernel_table.METRICS)]
    ended, _ = context.bundle.train(job, context.new_folder(), seconds, before=before, sets=["parallel.bf16=true"])
    if not os.path.exists(table):
        return {}, f"ncu: {ended.why()}, and so no limits"
    with open(table) as file:
        return kernel_table.of_ncu(file.read()), "" if ended.exit_code == 0 else f"ncu: {ended.why()}"


def items(context):
    """Name, time limit in seconds, the least that makes it worth beginning, what is done."""
    small, *large = context.batches
    yield "rates of this machine", 45, 10, rates
    yield f"{small} smp", 60, 15, training(small, "smp", smp)
    yield f"{small} PyTorch compiled", 120, 45, training(small, "PyTorch compiled", pytorch("compiled"))
    for name in large:
        yield f"{name} smp", 90, 40, training(name, "smp", smp)
        yield f"{name} PyTorch compiled", 150, 60, training(name, "PyTorch compiled", pytorch("compiled"))
    for name in (small, *large):
        yield f"{name} llm.c", 60, 20 if name == small else 40, beside_llmc(name)
    for name in (small, *large):
        yield f"{name} PyTorch eager", 75, 20 if name == small else 45, training(name, "PyTorch eager", pytorch("eager"))
    yield f"{small} kernels", 90, 40, kernels(small)


def run(bundle, record, budget, work, only):
    """One after the other: they would disturb each other."""
    context = Context(bundle, work, record)
    record.facts["formula"] = FORMULA
    for name, wanted, least, measure in items(context):
        if only not in name:
            continue
        begin, limit = time.monotonic(), budget.limit(wanted, least)
        if limit is None:
            outcome = Outcome(SKIP, f"under {least} s were left")
        else:
            try:
                outcome = measure(context, limit)
            except Exception:  # the others go on
                outcome = Outcome(FAIL, traceback.format_exc(limit=-2))
        record.add(name, outcome, time.monotonic() - begin, limit)
        print(f"{outcome.status:<5} {name}", flush=True)
