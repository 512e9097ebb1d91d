"""An unpacked bundle of launch/pack, and how its programs run here."""
import json
import os
import subprocess
import sys

import process

MPIRUN = ["--oversubscribe", "--bind-to", "none"]


class Bundle:
    def __init__(self, folder, device):
        self.folder, self.device = os.path.abspath(folder), device
        with open(os.path.join(self.folder, "about.json")) as file:
            self.about = json.load(file)
        # mpirun wants to be told twice that root is meant.
        self.environment = dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def program(self, name):
        return self.path("bin", name)

    def tokens(self):
        return self.path("data", "shakespeare_gpt2.bin")

    def on_device(self, ranks=1):
        """What a job sets so that it runs on this device."""
        sets = [f"cluster.device={self.device}"]
        if self.device == "cpu":
            sets.append("cluster.threads_per_rank=1")  # beside others, two threads that wait for each other take many times as long
        elif ranks > 1:
            sets.append("cluster.share_devices=true")
        return [part for value in sets for part in ("--set", value)]

    def train(self, job, folder, limit, ranks=1, sets=(), environment=None, before=(), steps=None):
        """Runs a job with its ranks as threads; `before` goes in front of the command. Returns how it ended and the steps that it wrote.
        With `steps` it is ended after so many of them, and leaves no checkpoint."""
        os.makedirs(folder)
        config, metrics = os.path.join(folder, "job.json"), os.path.join(folder, "run", "metrics.jsonl")
        with open(config, "w") as file:
            json.dump(job, file, indent=1)
        command = [*before, self.program("smp_train"), "--config", config, "--output", os.path.join(folder, "run"), "--ranks", ranks,
                   *self.on_device(ranks), *(part for value in sets for part in ("--set", value))]
        ended = process.run(command, limit, self.environment | (environment or {}), enough=steps and (lambda: len(read_steps(metrics)) >= steps))
        return ended, read_steps(metrics)

    def python(self, script, arguments, limit, environment=None):
        """A script of tests/gpu that wants torch: in this Python, with SMP_LIBTORCH's torch where that is set."""
        if os.environ.get("SMP_LIBTORCH"):
            path = os.pathsep.join(filter(None, (os.environ["SMP_LIBTORCH"], os.environ.get("PYTHONPATH"))))
            environment = dict(PYTHONPATH=path) | (environment or {})
        return process.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), script), *arguments], limit, environment)


def read_steps(path):
    """The objects of a metrics.jsonl that is perhaps being written."""
    try:
        with open(path) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def last_json(output):
    """The last line that is an object, of a script's output; None where there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                pass
    return None


def machine_facts():
    """What this is: for a record of what was measured where. Looks only."""
    facts = dict(host=os.uname().nodename, kernel=os.uname().release, cores=os.cpu_count(), python=sys.version.split()[0])
    query = "name,driver_version,memory.total,power.limit,clocks.max.sm"
    try:
        found = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, timeout=30)
        facts["gpu"] = found.stdout.strip() if found.returncode == 0 else f"nvidia-smi: exit code {found.returncode}"
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        facts["gpu"] = f"none seen ({type(error).__name__} of nvidia-smi)"
    return facts
