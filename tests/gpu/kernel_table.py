"""A table of kernels: their times in steps at full speed, by the library kernel_times.cpp, and how far each is from the limit of memory or of
arithmetic, by what ncu (Nsight Compute) prints as CSV of a smaller run. Pure."""
import csv
import io
import re

TIME = "gpu__time_duration.sum"
MEMORY = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
ARITHMETIC = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
METRICS = (TIME, MEMORY, ARITHMETIC)
HEADER = ("kernel", "calls a step", "µs a step", "share %", "memory %", "arithmetic %", "to the limit %")
MICROSECONDS = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3, "s": 1e6, "second": 1e6}


def short(name):
    """A kernel's own name without where it stands and what it takes: both tools write these in their own ways."""
    name = re.sub(r"\(anonymous namespace\)|<unnamed>", "_", name.removeprefix("void "))
    return re.match(r"[\w:~]*", name).group().split("::")[-1] or name


def of_times(text, steps):
    """Calls and microseconds a step, by short name, from the lines of kernel_times.cpp over `steps` steps."""
    kernels = {}
    for line in text.splitlines():
        name, calls, nanoseconds = line.split("\t")
        kernel = kernels.setdefault(short(name), dict(calls=0.0, microseconds=0.0))
        kernel["calls"] += int(calls) / steps
        kernel["microseconds"] += int(nanoseconds) / 1e3 / steps
    return kernels


def of_ncu(text):
    """Percentages by short name: of what this GPU sustains at most, weighed by time."""
    begin = text.find('"ID"')
    launches = {}
    for row in csv.DictReader(io.StringIO(text[begin:])) if begin >= 0 else ():
        if not (row.get("ID") or "").isdigit():
            continue
        launch = launches.setdefault(row["ID"], dict(name=short(row["Kernel Name"])))
        value = float(row["Metric Value"].replace(",", ""))
        launch[row["Metric Name"]] = value * MICROSECONDS[row["Metric Unit"]] if row["Metric Name"] == TIME else value
    sums = {}
    for launch in launches.values():
        time, found = launch.get(TIME, 0.0), sums.setdefault(launch["name"], [0.0, 0.0, 0.0])
        for i, metric in enumerate((MEMORY, ARITHMETIC)):
            found[i] += time * launch.get(metric, 0.0)
        found[2] += time
    return {name: dict(memory=memory / (time or 1), arithmetic=arithmetic / (time or 1)) for name, (memory, arithmetic, time) in sums.items()}


def rows(times, limits):
    """For a table with HEADER, most time first. The distance is what the nearer of the two limits leaves; a dash where ncu did not see a kernel."""
    total = sum(kernel["microseconds"] for kernel in times.values()) or 1
    found = []
    for name, kernel in sorted(times.items(), key=lambda item: -item[1]["microseconds"]):
        limit = limits.get(name)
        seen = [limit["memory"], limit["arithmetic"], 100 - max(limit["memory"], limit["arithmetic"])] if limit else [None] * 3
        found.append([name, kernel["calls"], kernel["microseconds"], 100 * kernel["microseconds"] / total, *seen])
    return found
