"""Compare another commit with this tree: the same measurements of both, in turn, in one run.

Each side runs its own `python -m benchmarks --quick` in its own folder. The ratio of a line says
how many times as good this tree is; above 1 it is better. The result is the median over the rounds
with its 90 % interval, from resampling the rounds (Efron's bootstrap, 2,000 samples, fixed seed).
"""

import json
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from benchmarks.report import reference_loop
from config import PROJECT

ROUNDS = 15
REQUIRED = 0.97
_RESULTS = "bench-results.json"
_LOWER_IS_BETTER = ("µs", "ms", "MB", "s")
_SAMPLES = 2_000
Measured = Mapping[str, tuple[float, str]]
"""Value and unit of each line."""


class Pair(NamedTuple):
    """The two values of a line in one round."""

    before: float
    after: float
    unit: str

    @property
    def ratio(self) -> float:
        """How many times as good as before."""
        if self.unit in _LOWER_IS_BETTER:
            return self.before / self.after
        return self.after / self.before


class Comparison(NamedTuple):
    """The medians of a line over all rounds."""

    name: str
    unit: str
    before: float
    after: float
    ratio: float
    low: float
    high: float

    @property
    def reached(self) -> bool:
        """Whether the interval of the median reaches the required ratio."""
        return self.high >= REQUIRED


def run(base: str, names: Sequence[str], rounds: int = ROUNDS) -> int:
    """Compare a commit with this tree and print the lines.

    Return 1 if a line is worse than required.
    """
    pairs: dict[str, list[Pair]] = defaultdict(list)
    loops: list[float] = []
    with _worktree(base) as tree:
        for number in range(rounds):
            print(f"Round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
            loops.append(reference_loop())
            # The second to run finds a warmer machine, so the order alternates.
            order = [tree, PROJECT] if number % 2 else [PROJECT, tree]
            measured = {side: _measure(side, names) for side in order}
            for name, pair in _pairs(measured[tree], measured[PROJECT]):
                pairs[name].append(pair)
    compared = [compare(name, lines) for name, lines in pairs.items()]
    print("\n".join(table(base, compared, loops)))
    return 0 if all(line.reached for line in compared) else 1


def _pairs(before: Measured, after: Measured) -> Iterator[tuple[str, Pair]]:
    for name, (value, unit) in after.items():
        if name in before:
            yield name, Pair(before[name][0], value, unit)


def compare(name: str, pairs: Sequence[Pair]) -> Comparison:
    """Return the medians of a line, with the 90 % interval of the median ratio."""
    ratios = [pair.ratio for pair in pairs]
    chance = random.Random(1)
    medians = [median(chance.choices(ratios, k=len(ratios))) for _ in range(_SAMPLES)]
    cuts = quantiles(medians, n=20)
    return Comparison(
        name=name,
        unit=pairs[0].unit,
        before=median(pair.before for pair in pairs),
        after=median(pair.after for pair in pairs),
        ratio=median(ratios),
        low=cuts[0],
        high=cuts[-1],
    )


def table(base: str, compared: Sequence[Comparison], loops: Sequence[float]) -> Iterator[str]:
    """Yield the lines for the terminal."""
    headings = f"{base[:12]:>12}{'now':>12}  {'':<12}{'ratio':>6}  {'90 % interval':<15}"
    yield f"{'':<42}{headings}reached"
    for line in compared:
        interval = f"{line.low:.2f} to {line.high:.2f}"
        values = f"{line.before:>12,.1f}{line.after:>12,.1f}  {line.unit:<12}"
        ratio = f"{line.ratio:>6.2f}  {interval:<15}"
        yield f"{line.name[:41]:<42}{values}{ratio}{'yes' if line.reached else 'NO'}"
    spread = f"{min(loops):.1f} to {max(loops):.1f}"
    yield f"Required: {REQUIRED}. The reference loop took {median(loops):.1f} ms ({spread})."


def _measure(tree: Path, names: Sequence[str]) -> Measured:
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    command += [argument for name in names for argument in ("--only", name)]
    quiet = subprocess.DEVNULL
    subprocess.run(command, cwd=tree, check=False, stdout=quiet, stderr=quiet)
    lines = json.loads((tree / _RESULTS).read_text())["lines"]
    return {line["name"]: (float(line["value"]), str(line["unit"])) for line in lines}


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder; yield the folder."""
    with tempfile.TemporaryDirectory(prefix="autoforge-base-") as folder:
        tree = Path(folder) / "base"
        git = ["git", "-C", str(PROJECT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
