"""What this machine's device does at most, through PyTorch: a large product in bf16, a copy on the device, copies to and from pinned memory.

    rates.py --device cuda|cpu

Prints one JSON line. Random data: products of zeros run faster than those of numbers.
"""
import argparse
import json
import statistics
import time
import warnings

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
import torch


def seconds_of(work, device, repeats=10):
    """Median of `repeats`, three before them not counted."""
    took = []
    for i in range(repeats + 3):
        if device == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            end.synchronize()
            took.append(begin.elapsed_time(end) / 1e3)
        else:
            start = time.perf_counter()
            work()
            took.append(time.perf_counter() - start)
    return statistics.median(took[3:])


parser = argparse.ArgumentParser()
parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
device = parser.parse_args().device
is_cuda = device == "cuda"
n, type_ = (8192, torch.bfloat16) if is_cuda else (512, torch.float32)
copied, carried = (4 << 30, 1 << 30) if is_cuda else (64 << 20, 16 << 20)  # bytes

a, b = (torch.randn(n, n, device=device, dtype=type_) for _ in range(2))
product = torch.empty(n, n, device=device, dtype=type_)
rates = dict(device=torch.cuda.get_device_name() if is_cuda else "cpu", torch=torch.__version__, product_size=n,
             product_flops_per_second=2 * n**3 / seconds_of(lambda: torch.matmul(a, b, out=product), device))
source, target = (torch.randint(256, (copied,), device=device, dtype=torch.uint8) for _ in range(2))
rates["copy_bytes_per_second"] = 2 * copied / seconds_of(lambda: target.copy_(source), device)  # read and written
if is_cuda:
    del source, target
    host, there = torch.randint(256, (carried,), dtype=torch.uint8).pin_memory(), torch.empty(carried, dtype=torch.uint8, device=device)
    rates["to_device_bytes_per_second"] = carried / seconds_of(lambda: there.copy_(host, non_blocking=True), device)
    rates["from_device_bytes_per_second"] = carried / seconds_of(lambda: host.copy_(there, non_blocking=True), device)
print(json.dumps(rates))
