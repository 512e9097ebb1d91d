"""Whether numbers are what they should be. Pure: values in, an Outcome out."""
from outcome import Outcome, FAIL, PASS, SKIP, passed_if

PROMISED = ("step", "loss", "learning_rate", "grad_norm", "tokens", "skipped_updates", "validation_loss")
GRAD_NORM_BOUND = 1e-5  # as tests/programs has it on the CPU


def with_golden(records, training):
    """Steps of metrics.jsonl against the float64 run of tests/golden, within ten times the drift of fp32."""
    if len(records) != len(training["losses"]):
        return Outcome(FAIL, f"{len(records)} steps instead of {len(training['losses'])}")
    bound = 10 * training["float32_drift"]["loss"]
    loss = max(abs(record["loss"] - expected) for record, expected in zip(records, training["losses"]))
    norm = max(abs(record["grad_norm"] - expected) for record, expected in zip(records, training["grad_norms"]))
    return passed_if(loss <= bound and norm <= GRAD_NORM_BOUND,
                     f"loss off by {loss:.3g} (bound {bound:.3g}), gradient norm by {norm:.3g} (bound {GRAD_NORM_BOUND:.3g})",
                     largest_loss_error=loss, loss_bound=bound, drifts=loss / bound * 10, largest_norm_error=norm)


def same_bits(records, expected):
    """All that is promised to be equal is: floats are written in their shortest form that reads back to the same bits."""
    if len(records) != len(expected):
        return Outcome(FAIL, f"{len(records)} steps instead of {len(expected)}")
    for record, other in zip(records, expected):
        for key in PROMISED:
            if record.get(key) != other.get(key):
                return Outcome(FAIL, f"step {record['step']}: {key} is {record.get(key)!r} instead of {other.get(key)!r}", dict(steps=len(records)))
    return Outcome(PASS, "", dict(steps=len(records), last_loss=records[-1]["loss"] if records else None))


def within_share(records, expected, share):
    """The losses of a run in 16 bits against those in fp32; they must differ, or it has not trained in 16 bits, and have fallen."""
    if len(records) != len(expected) or not records:
        return Outcome(FAIL, f"{len(records)} steps instead of {len(expected)}")
    shares = [abs(record["loss"] / other["loss"] - 1) for record, other in zip(records, expected)]
    numbers = dict(steps=len(records), largest_share=max(shares), bound=share, first_loss=expected[0]["loss"], last_loss=expected[-1]["loss"])
    if max(shares) == 0:
        return Outcome(FAIL, "the same numbers: it has trained in fp32", numbers)
    if expected[-1]["loss"] > 0.9 * expected[0]["loss"]:
        return Outcome(FAIL, f"fp32 has learnt nothing: loss {expected[0]['loss']:.4g} to {expected[-1]['loss']:.4g}", numbers)
    return Outcome(PASS if max(shares) <= share else FAIL,
                   "" if max(shares) <= share else f"a loss is off by {100 * max(shares):.3g} %, {100 * share:.3g} % are allowed", numbers)


def with_forecast(records, share):
    """The largest rank's measured peak against what its plan said."""
    peaks = [record["memory_bytes"] for record in records] or [0]
    predicted = records[-1]["predicted_memory_bytes"] if records else None
    if not predicted or not max(peaks):
        return Outcome(FAIL, f"nothing to compare: peaks {peaks}, predicted {predicted}")
    off = max(peaks) / predicted - 1
    return passed_if(abs(off) <= share, f"{100 * off:+.2f} % off the forecast, {100 * share:.3g} % are allowed",
                     peak_gib=max(peaks) / 2**30, predicted_gib=predicted / 2**30, off=off)


def with_waits(records):
    """What ranks with a device each say of their waits: known, and parts of the step."""
    if not records:
        return Outcome(FAIL, "no steps")
    for record in records:
        exposed, wait, bubble = (record.get(key) for key in ("exposed_communication_seconds", "wait_seconds", "bubble"))
        if None in (exposed, wait, bubble):
            return Outcome(FAIL, f"step {record['step']}: waits are not known")
        if not (0 <= exposed <= wait <= record["seconds"] and bubble >= 0):
            return Outcome(FAIL, f"step {record['step']}: exposed {exposed:.3g} s of {wait:.3g} s waited for in {record['seconds']:.3g} s, bubble {bubble:.3g}")
    last = records[-1]
    return Outcome(PASS, "", dict(wait_share=last["wait_seconds"] / last["seconds"], bubble=last["bubble"]))


def of_google_tests(output, exit_code):
    """What a test binary printed: failed, passed, or skipped where all of it was."""
    lines = output.splitlines()
    ran, skipped, failed = (sum(line.startswith(mark) and line.endswith("ms)") for line in lines)
                            for mark in ("[       OK ] ", "[  SKIPPED ] ", "[  FAILED  ] "))
    numbers = dict(passed=ran, skipped=skipped, failed=failed)
    if failed or exit_code != 0:
        names = [line.split("] ", 1)[1].split(" (")[0] for line in lines if line.startswith("[  FAILED  ] ") and line.endswith("ms)")]
        return Outcome(FAIL, f"exit code {exit_code}; failed: {', '.join(names) or 'none by name: ' + tail(output)}", numbers)
    if ran == 0:
        return Outcome(SKIP if skipped else FAIL, tail(output, 3) if not skipped else "every test skipped itself", numbers)
    return Outcome(PASS, "", numbers)


def tail(text, lines=12):
    """The end of a program's output, for a reason."""
    return "\n".join(text.strip().splitlines()[-lines:])
