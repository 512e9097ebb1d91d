"""llm.c's train_gpt2cu: how it is called for a job of ours, and what it printed, as steps. Pure."""
import re

STEP = re.compile(r"^step +(\d+)/\d+ \| loss ([\d.]+|-?nan|inf) .*\| ([\d.]+) ms \|", re.MULTILINE)
MEMORY = re.compile(r"^device memory usage: (\d+) MiB", re.MULTILINE)


def arguments(job, tokens):
    """Its options for jobs.on_tokens' job: llm.c knows GPT-2 by its depth, pads the vocabulary itself and clips at norm 1. Nothing is
    recomputed, sampled or saved, and one batch is evaluated ahead of the first step and behind the last; `tokens` is a file in its own format."""
    model, training = job["model"], job["training"]
    microbatch = training["global_batch_size"] // job["parallel"]["microbatches"]
    options = dict(i=tokens, j=tokens, e=f"d{model['n_layer']}", b=microbatch, t=model["n_positions"],
                   d=training["global_batch_size"] * model["n_positions"], x=training["steps"], l=training["learning_rate"], k="constant", c=0.1,
                   v=1000, m=1, s=0, n=0, h=0, r=0)
    return [part for key, value in options.items() for part in (f"-{key}", value)]


def steps(output, tokens_in_step):
    """Of its own clock: from the first microbatch to the end of the update. Its memory is what the device has given away in all."""
    memory = MEMORY.search(output)
    return [dict(step=int(number), loss=float(loss), seconds=float(milliseconds) / 1e3, tokens_per_second=tokens_in_step / float(milliseconds) * 1e3,
                 memory_bytes=int(memory.group(1)) << 20 if memory else None)
            for number, loss, milliseconds in STEP.findall(output)]
