"""What every measurement gets: its folder, its size and the servers that were found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Line


@dataclass(frozen=True)
class Bench:
    """The surroundings of a run."""

    folder: Path
    quick: bool
    postgres: str | None
    """The URL of a PostgreSQL server, or None."""
    mosquitto: bool

    @property
    def broker(self) -> str:
        """What the broker is called."""
        return "Mosquitto as shipped" if self.mosquitto else "the embedded broker"

    def size(self, full: int) -> int:
        """This many, or a tenth in a quick run."""
        return full // 10 if self.quick else full

    def place(self, name: str) -> Path:
        """A new folder for a part of a measurement."""
        made = self.folder / name
        made.mkdir(parents=True)
        return made


Measurement = Callable[[Bench], Iterator[Line]]
