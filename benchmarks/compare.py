"""Before and after: the same measurements of another commit and of this tree, in turn, in one run.

Each side runs its own `python -m benchmarks --quick` in a folder of its own. A line's ratio says how many times as good
this tree is: above 1 it is better. What counts is the median over the rounds with its 90 % interval, from
resampling the rounds (Efron's bootstrap, 2,000 samples of a fixed seed).
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from config import PROJECT

ROUNDS = 15
REQUIRED = 0.97
_RESULTS = "bench-results.json"
_LOWER_IS_BETTER = ("ms", "MB", "s")
_SAMPLES = 2_000


class Pair(NamedTuple):
    """What one round measured of a line."""

    before: float
    after: float
    unit: str

    @property
    def ratio(self) -> float:
        """How many times as good as before."""
        return self.before / self.after if self.unit in _LOWER_IS_BETTER else self.after / self.before


class Comparison(NamedTuple):
    """A line over all rounds."""

    name: str
    unit: str
    before: float
    after: float
    ratio: float
    low: float
    high: float

    @property
    def reached(self) -> bool:
        """Whether the interval of the median reaches what is required."""
        return self.high >= REQUIRED


def run(base: str, names: Sequence[str], rounds: int = ROUNDS) -> int:
    """Measure a commit and this tree in turn, and print the lines; 1 if a line is worse than required."""
    pairs: dict[str, list[Pair]] = defaultdict(list)
    loops: list[float] = []
    with _worktree(base) as folder:
        for number in range(rounds):
            print(f"Round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
            loops.append(reference_loop())
            # Whoever runs second finds a warmer machine: they take turns at that too.
            places = [folder, PROJECT] if number % 2 else [PROJECT, folder]
            measured = {place: _measured(place, names) for place in places}
            for name, (value, unit) in measured[PROJECT].items():
                if name in measured[folder]:
                    pairs[name].append(Pair(measured[folder][name][0], value, unit))
    compared = [compare(name, lines) for name, lines in pairs.items()]
    print("\n".join(table(base, compared, loops)))
    return 0 if all(line.reached for line in compared) else 1


def compare(name: str, pairs: Sequence[Pair]) -> Comparison:
    """The medians of a line, and the interval in which the median of its ratio is with 90 %."""
    ratios = [pair.ratio for pair in pairs]
    chance = random.Random(1)
    medians = [median(chance.choices(ratios, k=len(ratios))) for _ in range(_SAMPLES)]
    cuts = quantiles(medians, n=20)
    before, after = (median(side) for side in zip(*(pair[:2] for pair in pairs), strict=True))
    return Comparison(name, pairs[0].unit, before, after, median(ratios), cuts[0], cuts[-1])


def table(base: str, compared: Sequence[Comparison], loops: Sequence[float]) -> Iterator[str]:
    """The lines for the terminal."""
    yield f"{'':<42}{base[:12]:>12}{'now':>12}  {'':<12}{'ratio':>6}  {'90 % interval':<15}reached"
    for line in compared:
        interval = f"{line.low:.2f} to {line.high:.2f}"
        figures = f"{line.before:>12,.1f}{line.after:>12,.1f}  {line.unit:<12}{line.ratio:>6.2f}  {interval:<15}"
        yield f"{line.name[:41]:<42}{figures}{'yes' if line.reached else 'NO'}"
    spread = f"{min(loops):.1f} to {max(loops):.1f}"
    yield f"Required: {REQUIRED}. The reference loop took {median(loops):.1f} ms ({spread})."


def reference_loop() -> float:
    """Milliseconds that a fixed loop takes on this machine: beside an absolute figure it tells the machine's speed."""
    begun = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number & 7
    return 1000 * (time.perf_counter() - begun)


def _measured(place: Path, names: Sequence[str]) -> dict[str, tuple[float, str]]:
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    command += [argument for name in names for argument in ("--only", name)]
    subprocess.run(command, cwd=place, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = json.loads((place / _RESULTS).read_text())["lines"]
    return {line["name"]: (float(line["value"]), str(line["unit"])) for line in lines}


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="autoforge-base-") as folder:
        place = Path(folder) / "base"
        git = ["git", "-C", str(PROJECT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)
