"""Programs with a time limit: what they leave when it is over is their exit code, None, and the output until then."""
import dataclasses
import os
import signal
import subprocess
import tempfile
import time


@dataclasses.dataclass
class Ended:
    exit_code: int  # negative: of a signal, as in subprocess; None: it was ended by its limit or because it had done enough
    output: str  # stdout and stderr together
    seconds: float

    def why(self):
        """In words, what was wrong."""
        return "ran past its time limit" if self.exit_code is None else f"exit code {self.exit_code}"


def run(command, limit, environment=None, folder=None, enough=None):
    """`enough()`, asked ten times a second, ends the program early: a training that has made its steps need not save."""
    with tempfile.TemporaryFile() as output:
        begin = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder,
                                 env=os.environ | (environment or {}), start_new_session=True)
        code = None
        try:
            while time.monotonic() - begin < limit and not (enough and enough()):
                try:
                    code = child.wait(timeout=0.1)
                    break
                except subprocess.TimeoutExpired:
                    pass
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)  # the whole job, its children of children too
            except ProcessLookupError:
                pass
            child.wait()
        seconds = time.monotonic() - begin
        output.seek(0)
        return Ended(code, output.read().decode(errors="replace"), seconds)
