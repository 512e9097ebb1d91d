"""The parts of tests/gpu that are values and functions: what they accept, and that they can refuse."""
import json
import os
import struct
import tempfile
import unittest

import compare
import fat_binary
import jobs
import kernel_table
import llmc
import process
from budget import Budget
from outcome import FAIL, NOTED, PASS, SKIP, Outcome, Record


def steps(*losses, **more):
    return [dict(step=i + 1, loss=loss, grad_norm=1.0, memory_bytes=100, predicted_memory_bytes=100) | more for i, loss in enumerate(losses)]


class Golden(unittest.TestCase):
    training = dict(losses=[2.0, 1.0], grad_norms=[1.0, 1.0], float32_drift=dict(loss=1e-3))

    def test_ten_drifts_are_the_bound(self):
        self.assertEqual(compare.with_golden(steps(2.0099, 1.0), self.training).status, PASS)
        self.assertEqual(compare.with_golden(steps(2.0101, 1.0), self.training).status, FAIL)

    def test_norms_and_the_number_of_steps_count(self):
        self.assertEqual(compare.with_golden(steps(2.0, 1.0, grad_norm=1.0001), self.training).status, FAIL)
        self.assertEqual(compare.with_golden(steps(2.0), self.training).status, FAIL)


class Bits(unittest.TestCase):
    def test_the_last_bit_counts(self):
        self.assertEqual(compare.same_bits(steps(1.0, 0.1), steps(1.0, 0.1)).status, PASS)
        self.assertEqual(compare.same_bits(steps(1.0, 0.1), steps(1.0, 0.10000000000000002)).status, FAIL)
        self.assertEqual(compare.same_bits(steps(1.0), steps(1.0, 0.1)).status, FAIL)

    def test_seconds_and_memory_are_not_promised(self):
        self.assertEqual(compare.same_bits(steps(1.0, seconds=1, memory_bytes=5), steps(1.0, seconds=2)).status, PASS)


class Share(unittest.TestCase):
    def test_bounds(self):
        self.assertEqual(compare.within_share(steps(4.01, 2.0), steps(4.0, 2.0), 0.005).status, PASS)
        self.assertEqual(compare.within_share(steps(4.03, 2.0), steps(4.0, 2.0), 0.005).status, FAIL)

    def test_equal_numbers_and_a_run_that_learns_nothing_are_refused(self):
        self.assertIn("fp32", compare.within_share(steps(4.0, 2.0), steps(4.0, 2.0), 0.005).reason)
        self.assertIn("learnt nothing", compare.within_share(steps(4.01, 4.0), steps(4.0, 4.0), 0.005).reason)


class Forecast(unittest.TestCase):
    def test_both_sides(self):
        for peak, status in ((103, PASS), (97, PASS), (104, FAIL), (96, FAIL)):
            self.assertEqual(compare.with_forecast(steps(1.0, memory_bytes=peak), 0.0301).status, status)
        self.assertEqual(compare.with_forecast([], 0.03).status, FAIL)
        self.assertEqual(compare.with_forecast(steps(1.0, predicted_memory_bytes=None), 0.03).status, FAIL)


class Waits(unittest.TestCase):
    def test_they_are_known_and_parts_of_the_step(self):
        known = dict(seconds=1.0, wait_seconds=0.5, exposed_communication_seconds=0.2, bubble=0.1)
        self.assertEqual(compare.with_waits(steps(1.0, **known)).status, PASS)
        for wrong in (dict(wait_seconds=None), dict(wait_seconds=1.1), dict(exposed_communication_seconds=0.6), dict(bubble=None),
                      dict(exposed_communication_seconds=-0.1), dict(bubble=-1)):
            self.assertEqual(compare.with_waits(steps(1.0, **known | wrong)).status, FAIL, wrong)
        self.assertEqual(compare.with_waits([]).status, FAIL)


class GoogleTests(unittest.TestCase):
    def test_kinds(self):
        of = compare.of_google_tests
        self.assertEqual(of("[       OK ] A.b (1 ms)\n[  SKIPPED ] A.c (0 ms)\n", 0).status, PASS)
        self.assertEqual(of("[  SKIPPED ] A.c (0 ms)\n", 0).status, SKIP)
        self.assertEqual(of("[       OK ] A.b (1 ms)\n[  FAILED  ] A.c (3 ms)\n", 1).status, FAIL)
        self.assertIn("A.c", of("[       OK ] A.b (1 ms)\n[  FAILED  ] A.c (3 ms)\n", 1).reason)
        self.assertEqual(of("[       OK ] A.b (1 ms)\nSegmentation fault\n", 139).status, FAIL)
        self.assertEqual(of("", 0).status, FAIL)


class Time(unittest.TestCase):
    def test_what_is_left_is_shared_out(self):
        now = [0.0]
        budget = Budget(100, lambda: now[0])
        self.assertEqual(budget.limit(30), 30)
        now[0] = 90
        self.assertEqual(budget.limit(30), 10)
        self.assertIsNone(budget.limit(30, least=11))
        now[0] = 200
        self.assertIsNone(budget.limit(30))

    def test_a_program_past_its_limit_is_ended_with_its_children(self):
        with tempfile.TemporaryDirectory() as folder:
            mark = os.path.join(folder, "mark")
            ended = process.run(["sh", "-c", f"echo begun; (sleep 30; touch '{mark}') & wait"], limit=0.5)
            self.assertIsNone(ended.exit_code)
            self.assertEqual(ended.output, "begun\n")
        self.assertEqual(process.run(["sh", "-c", "exit 7"], limit=60).exit_code, 7)
        self.assertIsNone(process.run(["sleep", "30"], limit=60, enough=lambda: True).exit_code)


class Records(unittest.TestCase):
    def test_every_result_is_on_the_disk_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            record = Record(folder, 1, dict(device="cpu"))
            record.add("a", Outcome(FAIL, "one\ntwo | three", dict(x=0.123456)), 1.23, 60)
            record.add("b", Outcome(NOTED), 0, None)
            with open(os.path.join(folder, "part1.json")) as file:
                content = json.load(file)
            self.assertEqual(content["counts"], {"pass": 0, "fail": 1, "skip": 0, "noted": 1})
            self.assertEqual(content["results"][0]["reason"], "one\ntwo | three")
            with open(os.path.join(folder, "part1.md")) as file:
                self.assertIn("| a | fail | 1.2 | x 0.1235 | one two \\| three |", file.read())


class Shapes(unittest.TestCase):
    def test_published_sizes(self):
        published = lambda name: jobs.SHAPES[name] | dict(vocab_size=50257)
        self.assertEqual(jobs.parameters(published("124M")), 124439808)
        self.assertEqual(jobs.parameters(published("1.5B")), 1557611200)
        self.assertAlmostEqual(jobs.flops_per_token(published("1.5B")) / 1e9, 9.818, places=2)
        self.assertAlmostEqual(jobs.flops_per_token(published("124M")) / 1e6, 803, places=0)

    def test_peaks(self):
        self.assertEqual(jobs.peak_of("NVIDIA H100 80GB HBM3"), 989.4e12)
        self.assertIsNone(jobs.peak_of("Riva 128"))


class LlmC(unittest.TestCase):
    def test_its_options_are_those_of_the_job(self):
        job = jobs.on_tokens(jobs.SHAPES["124M"], "x", microbatch=32, microbatches=2, steps=15)
        arguments = llmc.arguments(job, "tokens.bin")
        options = dict(zip(arguments[::2], arguments[1::2]))
        self.assertEqual([options[key] for key in ("-e", "-b", "-t", "-d", "-x", "-i")], ["d12", 32, 1024, 65536, 15, "tokens.bin"])

    def test_its_steps_are_read(self):
        line = "step    {}/15 | loss 10.9{} (+nanz)| norm 21.4551 (+nanz)| lr 1.00e-04 | {} ms | 47.0% bf16 MFU | 510749 tok/s\n"
        text = "device memory usage: 2048 MiB / 81559 MiB\n" + line.format(1, 5, "250.00") + "val loss 3.1\n" + line.format(2, 4, "125.00")
        steps = llmc.steps(text, 65536)
        self.assertEqual([step["tokens_per_second"] for step in steps], [262144, 524288])
        self.assertEqual((steps[1]["loss"], steps[1]["memory_bytes"]), (10.94, 2 << 30))


class FatBinaries(unittest.TestCase):
    def test_entries_of_several(self):
        def binary(*entries):
            body = b"".join(struct.pack("<HHIQIIHHI", kind, 0, 32, 8, 0, 0, 0, 0, arch) + b"x" * 8 for kind, arch in entries)
            return struct.pack("<IHHQ", fat_binary.MAGIC, 1, 16, len(body)) + body
        data = binary((2, 80), (2, 90)) + b"\0" * 8 + binary((1, 90))
        names = b"\0.nv_fatbin\0.names\0"
        header = lambda name, at, size: struct.pack("<IIQQQQ", name, 0, 0, 0, at, size) + b"\0" * 24
        elf = b"\x7fELF\x02\x01" + b"\0" * 34 + struct.pack("<Q", 64 + len(data) + len(names)) + b"\0" * 10 + struct.pack("<HHH", 64, 2, 1)
        elf += data + names + header(1, 64, len(data)) + header(12, 64 + len(data), len(names))
        self.assertEqual(fat_binary.architectures(elf), {"sm_80", "sm_90", "compute_90"})


class Kernels(unittest.TestCase):
    def test_names_without_what_they_take(self):
        for name in ("void smp::<unnamed>::gelu_of<8, __nv_bfloat16>(T2 *, const T2 *, long)",
                     "void smp::models::kernels::cuda::(anonymous namespace)::gelu_of<8, __nv_bfloat16>(__nv_bfloat16*, __nv_bfloat16 const*, long)"):
            self.assertEqual(kernel_table.short(name), "gelu_of")
        self.assertEqual(kernel_table.short("nvjet_sm90_tst_96x128_64x6"), "nvjet_sm90_tst_96x128_64x6")

    def test_rows_are_by_time(self):
        times = kernel_table.of_times("a\t8\t8000\nvoid n::b<int>(int)\t4\t20000\nvoid n::b<float>(float)\t4\t4000\n", steps=4)
        rows = [("a", "gpu__time_duration.sum", "nsecond", "2,000"), ("a", "dram__throughput.avg.pct_of_peak_sustained_elapsed", "%", "80"),
                ("a", "gpu__time_duration.sum", "usecond", "6"), ("a", "dram__throughput.avg.pct_of_peak_sustained_elapsed", "%", "40")]
        head = '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"\n'
        text = "==PROF== Connected\n" + head + "".join(f'"{i // 2}","{name}","{metric}","{unit}","{value}"\n' for i, (name, metric, unit, value) in enumerate(rows))
        self.assertEqual(kernel_table.rows(times, kernel_table.of_ncu(text)),
                         [["b", 2, 6, 75, None, None, None], ["a", 2, 2, 25, 50, 0, 50]])


if __name__ == "__main__":
    unittest.main()
