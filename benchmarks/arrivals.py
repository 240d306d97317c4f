"""Record when messages arrive at a subscriber: `python -m benchmarks.arrivals PORT`.

The process subscribes at QoS 0 to all topics of the measurement and prints a line once it has.
When a message arrives on `END`, it prints the arrival times by topic as JSON.
Times are seconds of the monotonic clock, which all processes of a machine share.
"""

import argparse
import contextlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, quantiles
from time import monotonic
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import load
from benchmarks.processes import Process, answer, python, running

TOPIC = "publisher/{number}"
END = "publisher/end"
_ALL = "publisher/#"
_READY = "subscribed\n"
Arrivals = Mapping[str, Sequence[float]]


class Punctuality(NamedTuple):
    """How late the messages of all entries were."""

    within: float
    """Percentage of messages within the tolerance; a lost message counts as late."""
    high: float
    """The 99th percentile in milliseconds."""
    drift: float
    """Mean lateness of the last messages minus that of the first, in milliseconds."""
    lost: int
    """Number of messages that did not arrive."""


@contextlib.contextmanager
def subscriber(folder: Path, port: int) -> Iterator[Process]:
    """Run a process that has subscribed at the broker. Raises RuntimeError if it cannot."""
    with running(python("benchmarks.arrivals", port), folder, {}) as process:
        if process.stdout is None or process.stdout.readline() != _READY:
            console = folder / "console.txt"
            raise RuntimeError(f"the subscriber could not subscribe; see {console}")
        yield process


def arrived(process: Process, port: int) -> Arrivals:
    """End the subscriber and return its arrival times by topic."""
    with load.connect(port) as connection:
        connection.sendall(load.publish_packet(END, b"", 0))
        connection.recv(4)
    return answer(process)


def lateness(times: Sequence[float], interval: float, count: int) -> list[float]:
    """Return the lateness in seconds of an entry's first `count` messages.

    A message that did not arrive is infinitely late.
    The due times form a grid of unknown origin: the most punctual message is not late at all.
    """
    numbered: dict[int, float] = {}
    for time in times:
        numbered.setdefault(round((time - times[0]) / interval), time)
    late = {number: time - number * interval for number, time in numbered.items() if number < count}
    origin = min(late.values(), default=0.0)
    return [late.get(number, math.inf) - origin for number in range(count)]


def punctuality(lates: Sequence[Sequence[float]], tolerance: float, span: int) -> Punctuality:
    """Judge the lateness of each entry's messages.

    The drift compares the first `span` messages of each entry with the last `span`.
    Raises RuntimeError if fewer than two messages arrived.
    """
    due = [late for entry in lates for late in entry]
    finite = [late for late in due if late < math.inf]
    if len(finite) < 2:
        raise RuntimeError(f"{len(finite)} of {len(due)} messages arrived: too few to judge")
    punctual = sum(late <= tolerance for late in finite)
    drift = _mean(entry[-span:] for entry in lates) - _mean(entry[:span] for entry in lates)
    high = quantiles(finite, n=100, method="inclusive")[98]
    return Punctuality(
        within=100 * punctual / len(due),
        high=1000 * high,
        drift=1000 * drift,
        lost=len(due) - len(finite),
    )


def _mean(parts: Iterator[Sequence[float]]) -> float:
    finite = [late for part in parts for late in part if late < math.inf]
    return fmean(finite) if finite else math.inf


def _receive(port: int) -> Arrivals:
    """Receive until a message arrives on `END`."""
    times: defaultdict[str, list[float]] = defaultdict(list)

    def on_connect(*_: object) -> None:
        client.subscribe(_ALL, 0)

    def on_message(_: Any, __: Any, message: paho.MQTTMessage) -> None:
        if message.topic == END:
            client.disconnect()
        else:
            times[message.topic].append(monotonic())

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: print(_READY, end="", flush=True)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_forever()
    return times


def main() -> None:
    """Subscribe, receive until the end message, and print the arrival times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arrivals", description=main.__doc__)
    parser.add_argument("port", type=int)
    print(json.dumps(_receive(parser.parse_args().port)))


if __name__ == "__main__":
    main()
