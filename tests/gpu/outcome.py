"""What came of a check or a measurement, and its two forms for people and programs: one JSON, one Markdown table."""
import dataclasses
import json
import os

PASS, FAIL, SKIP, NOTED = "pass", "fail", "skip", "noted"  # noted: measured or tried, held against nothing


@dataclasses.dataclass
class Outcome:
    status: str
    reason: str = ""  # why it failed or was skipped, or what to know
    numbers: dict = dataclasses.field(default_factory=dict)


def passed_if(holds, reason, **numbers):
    """A pass where `holds`; the reason is said where it does not."""
    return Outcome(PASS if holds else FAIL, "" if holds else reason, numbers)


def short(value):
    """A number as a person reads it in a table."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(short, value))
    return str(value)


def in_cell(text, most=300):
    """One line that does not end its cell."""
    line = " ".join(str(text).split()).replace("|", "\\|")
    return line if len(line) <= most else line[: most - 1] + "…"


def table(header, rows):
    """Markdown; cells are values."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(in_cell(cell if isinstance(cell, str) else short(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


class Record:
    """The results of one part. Written anew after each of them, so that a command that is cut off leaves what it had."""

    def __init__(self, folder, part, facts):
        """`facts`: what was run, where: values by name."""
        self.folder, self.part, self.facts = folder, part, facts
        self.results, self.tables = [], {}
        os.makedirs(folder, exist_ok=True)
        self.write()

    def add(self, name, outcome, seconds, limit):
        self.results.append(dict(name=name, status=outcome.status, seconds=round(seconds, 1), limit_seconds=limit and round(limit),
                                 reason=outcome.reason, numbers=outcome.numbers))
        self.write()

    def add_table(self, title, header, rows):
        """A table of its own beside the results."""
        self.tables[title] = dict(header=header, rows=rows)
        self.write()

    def counts(self):
        return {status: sum(result["status"] == status for result in self.results) for status in (PASS, FAIL, SKIP, NOTED)}

    def markdown(self):
        numbers = lambda result: ", ".join(f"{key} {short(value)}" for key, value in result["numbers"].items() if not isinstance(value, dict))
        parts = [f"# Part {self.part}: " + ", ".join(f"{count} {status}" for status, count in self.counts().items()),
                 table(["what", "value"], self.facts.items()),
                 table(["check" if self.part == 1 else "item", "result", "s", "numbers", "reason"],
                       [[r["name"], r["status"], r["seconds"], numbers(r), r["reason"]] for r in self.results])]
        for title, content in self.tables.items():
            parts += [f"## {title}", table(content["header"], content["rows"])]
        return "\n\n".join(parts) + "\n"

    def write(self):
        content = dict(part=self.part, facts=self.facts, counts=self.counts(), results=self.results, tables=self.tables)
        for name, text in ((f"part{self.part}.json", json.dumps(content, indent=1) + "\n"), (f"part{self.part}.md", self.markdown())):
            with open(os.path.join(self.folder, name + ".part"), "w") as file:
                file.write(text)
            os.replace(os.path.join(self.folder, name + ".part"), os.path.join(self.folder, name))
