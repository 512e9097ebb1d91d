"""A table of kernels from what ncu (Nsight Compute) prints as CSV: time, and how far each is from the limit of memory or of arithmetic."""
import csv
import io

TIME = "gpu__time_duration.sum"
MEMORY = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
ARITHMETIC = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
METRICS = (TIME, MEMORY, ARITHMETIC)
HEADER = ("kernel", "calls", "µs", "share %", "memory %", "arithmetic %", "to the limit %")
MICROSECONDS = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3, "s": 1e6, "second": 1e6}


def of_ncu(text):
    """A row a kernel's name, most time first. Percentages are of what this GPU sustains at most, weighed by time; the distance is what the
    nearer of the two limits leaves."""
    begin = text.find('"ID"')
    launches = {}
    for row in csv.DictReader(io.StringIO(text[begin:])) if begin >= 0 else ():
        if not (row.get("ID") or "").isdigit():
            continue
        launch = launches.setdefault(row["ID"], dict(name=row["Kernel Name"]))
        value = float(row["Metric Value"].replace(",", ""))
        launch[row["Metric Name"]] = value * MICROSECONDS[row["Metric Unit"]] if row["Metric Name"] == TIME else value
    kernels = {}
    for launch in launches.values():
        kernel = kernels.setdefault(launch["name"], dict(name=launch["name"], calls=0, microseconds=0.0, memory=0.0, arithmetic=0.0))
        time = launch.get(TIME, 0.0)
        kernel["calls"] += 1
        kernel["microseconds"] += time
        kernel["memory"] += time * launch.get(MEMORY, 0.0)
        kernel["arithmetic"] += time * launch.get(ARITHMETIC, 0.0)
    total = sum(kernel["microseconds"] for kernel in kernels.values())
    for kernel in kernels.values():
        for limit in ("memory", "arithmetic"):
            kernel[limit] /= kernel["microseconds"] or 1
        kernel["share"] = kernel["microseconds"] / (total or 1)
        kernel["distance"] = 100 - max(kernel["memory"], kernel["arithmetic"])
    return sorted(kernels.values(), key=lambda kernel: -kernel["microseconds"])


def rows(kernels):
    """For a table with HEADER."""
    return [[kernel["name"], kernel["calls"], kernel["microseconds"], 100 * kernel["share"], kernel["memory"], kernel["arithmetic"], kernel["distance"]]
            for kernel in kernels]
