"""launch/pack's bundle, as it is on a bare machine. CMakeLists.txt packs it first.

    bundle_test.py Parts|Architectures|Alone|Run --archive FILE --source DIR --build DIR --libtorch DIR

Alone runs in a world where neither the checkout nor this machine's MPI can be seen, nor any library that the bundle brings; where a
user may not make such a world it leaves with 77.
"""
import argparse
import ctypes
import glob
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest

import compare
import fat_binary
import jobs
from bundle import MPIRUN, Bundle, read_steps

parser = argparse.ArgumentParser()
parser.add_argument("test", choices=("Parts", "Architectures", "Alone", "Run"))
for name in ("archive", "source", "build", "libtorch"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--inside", help="the folder with everything, in a world of its own already")


def programs(folder):
    return sorted(glob.glob(os.path.join(glob.escape(folder), "programs", "*")))


class Parts(unittest.TestCase):
    def test_it_can_travel(self):
        sizes = [os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(bundle) for name in names]
        self.assertGreater(len(sizes), 100)
        self.assertLess(sum(sizes), 64 << 20)

    def test_no_program_needs_a_driver_to_start(self):
        self.assertGreaterEqual(len(programs(bundle)), 7)
        for path in programs(bundle) + glob.glob(os.path.join(glob.escape(bundle), "lib", "*")):
            words = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
            self.assertNotIn("libcuda.so", words, path)
            self.assertIn("NEEDED", words, path)

    def test_what_every_machine_has_stays_at_home(self):
        names = os.listdir(os.path.join(bundle, "lib"))
        for own in ("libc.so", "libstdc++", "libgomp", "libtorch", "libc10", "libcudart", "libnccl"):
            self.assertEqual([name for name in names if name.startswith(own)], [])


class Architectures(unittest.TestCase):
    def test_kernels_for_ampere_and_hopper_and_ptx_for_what_comes(self):
        for name in ("smp_train", "smp_models_tests"):
            with open(os.path.join(bundle, "programs", name), "rb") as file:
                found = fat_binary.architectures(file.read())
            self.assertLessEqual({"sm_80", "sm_90", "compute_90"}, found, name)


class Alone(unittest.TestCase):
    def start(self, *command, **environment):
        kept = {key: value for key, value in os.environ.items() if key not in ("SMP_LIBTORCH", "PYTHONPATH", "LD_LIBRARY_PATH")}
        found = subprocess.run(command, env=kept | environment, capture_output=True, text=True, cwd="/", timeout=300)
        return found.returncode, found.stdout + found.stderr

    def test_the_world_is_bare(self):
        self.assertEqual(os.listdir(args.source), [])
        code, words = self.start(os.path.join(bundle, "programs", "smp_plan"), "--version")
        self.assertEqual(code, 127, words)  # a library is missing: this machine's are hidden, and nothing names the bundle's

    def test_torch_is_found_by_name_and_by_python(self):
        for environment in (dict(SMP_LIBTORCH=site), dict(PYTHONPATH=site)):
            code, words = self.start(os.path.join(bundle, "bin", "smp_train"), "--version", **environment)
            self.assertEqual((code, words.splitlines()[0].split()[0]), (0, "smp_train"), words)

    def test_no_torch_is_said(self):
        code, words = self.start(os.path.join(bundle, "bin", "smp_train"), "--version", SMP_LIBTORCH="/nowhere")
        self.assertEqual(code, 2)
        self.assertIn("smp_train: error: no LibTorch: /nowhere/torch/lib/libtorch_cpu.so does not exist", words)

    def test_plans_need_no_torch(self):
        code, words = self.start(os.path.join(bundle, "bin", "smp_plan"), "--config", os.path.join(bundle, "configs", "gpt2_124m.json"), "--check")
        self.assertEqual(code, 0, words)

    def test_tests_of_kernels_are_there(self):
        code, words = self.start(os.path.join(bundle, "bin", "smp_models_tests"), "--gtest_list_tests", "--gtest_filter=KernelsCuda*", SMP_LIBTORCH=site)
        self.assertEqual(code, 0, words)
        self.assertIn("LayerNorm", words)

    def test_two_processes_train_as_the_reference_did(self):
        config, output = os.path.join(args.inside, "job.json"), os.path.join(args.inside, "run")
        with open(config, "w") as file:
            json.dump(jobs.golden(os.path.join(bundle, "tests", "golden", "tiny"), dict(pipeline_parallel_degree=2)), file)
        code, words = self.start(os.path.join(bundle, "bin", "mpirun"), *MPIRUN, "-np", "2", os.path.join(bundle, "bin", "smp_train"), "--config", config,
                                 "--output", output, "--set", "cluster.device=cpu", SMP_LIBTORCH=site, OMP_NUM_THREADS="1", **Bundle(bundle, "cpu").environment)
        self.assertEqual(code, 0, words)
        with open(os.path.join(bundle, "tests", "golden", "tiny", "training.json")) as file:
            self.assertEqual(compare.with_golden(read_steps(os.path.join(output, "metrics.jsonl")), json.load(file)).reason, "")


class Run(unittest.TestCase):
    """All that runs on a GPU can run on the CPU; what PyTorch does beside it wants a Python that has torch."""

    def results_of(self, *arguments):
        command = [sys.executable, os.path.join(bundle, "tests", "gpu", "run"), "--device", "cpu", "--seconds", "1200", "--output", folder, *arguments]
        found = subprocess.run(command, env=os.environ | dict(SMP_LIBTORCH=args.libtorch), capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        with open(os.path.join(folder, f"part{arguments[1]}.json")) as file:
            return json.load(file)

    def test_part_1_holds_on_the_cpu(self):
        results = self.results_of("--part", "1")
        self.assertEqual([result["name"] for result in results["results"] if result["status"] == "skip"],
                         ["kernels against fp64", "threads on CUDA tensors, and a group of one", "memcheck of a step", "racecheck of a step", "two NCCL ranks on one GPU"])
        self.assertEqual((results["counts"]["pass"], results["counts"]["fail"]), (22, 0))

    def test_part_2_measures_tiny_sizes(self):
        results = self.results_of("--part", "2", "--only", "smp")
        self.assertEqual([(result["name"], result["status"]) for result in results["results"]], [("tiny smp", "noted")])
        self.assertGreater(results["results"][0]["numbers"]["tokens_per_second"], 0)


def mount(source, target, kind, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"mount on {target}")


def hide(folder):
    """Done by calls of the system, not by programs: those may need a library that is hidden already."""
    bind = 4096
    os.mkdir(os.path.join(folder, "site"))
    mount(args.libtorch, os.path.join(folder, "site"), "", bind)
    empty = os.path.join(folder, "empty")
    open(empty, "w").close()
    places = [f"{root}{part}" for root in ("/lib", "/usr/lib", "/usr/local/lib") for part in ("", "/x86_64-linux-gnu", "/x86_64-linux-gnu/openmpi/lib", "64")]
    hidden = {os.path.realpath(path) for place in places for name in os.listdir(os.path.join(bundle, "lib")) for path in glob.glob(f"{place}/{name}")}
    hidden |= {os.path.realpath(path) for name in ("mpirun", "orterun", "orted") for path in glob.glob(f"/usr/bin/{name}*")}
    for path in sorted(hidden):
        mount(empty, path, "", bind)
    for path in ("/usr/lib/x86_64-linux-gnu/openmpi", "/usr/share/openmpi", args.build, args.source):
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", 0)


args = parser.parse_args()
if args.test == "Alone" and not args.inside:
    may = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    if may.returncode != 0:
        print(f"skipped: this user may make no mount namespace here ({may.stderr.strip()})")
        sys.exit(77)
with tempfile.TemporaryDirectory(prefix="smp bundle ") as scratch:  # with spaces in its path
    folder = args.inside or scratch
    bundle, site = os.path.join(folder, "smp-bundle"), os.path.join(folder, "site")
    if not args.inside:
        with tarfile.open(args.archive) as archive:
            archive.extractall(folder)
    if args.test == "Alone" and not args.inside:
        inside = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", sys.executable, os.path.join(bundle, "tests", "gpu", os.path.basename(__file__)),
                                 *sys.argv[1:], "--inside", folder], cwd="/")
        sys.exit(inside.returncode)
    if args.inside:
        hide(folder)
    result = unittest.main(argv=["bundle_test", args.test], exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
