"""The context of a measurement: its folder, its size and the servers that are available."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import ReportLine


@dataclass(frozen=True)
class Bench:
    """The context that all measurements of a run share."""

    root: Path
    quick: bool
    postgres: str | None
    """The URL of a PostgreSQL server, or None."""
    mosquitto: bool

    @property
    def broker(self) -> str:
        """The name of the broker in the report."""
        return "Mosquitto as shipped" if self.mosquitto else "the embedded broker"

    def size(self, full: int) -> int:
        """Return `full`, or a tenth of it in a quick run."""
        return full // 10 if self.quick else full

    def folder(self, name: str) -> Path:
        """Create and return a new folder below `root`."""
        created = self.root / name
        created.mkdir(parents=True)
        return created


Measurement = Callable[[Bench], Iterator[ReportLine]]
