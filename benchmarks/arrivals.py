"""What arrives at a subscriber, and when: `python -m benchmarks.arrivals PORT`, a process of its own.

It subscribes to all topics of the measurement at QoS 0, says so, and with the message on `END` it prints the times of
all messages by topic, as JSON. They are seconds of the monotonic clock, which all processes of a machine share.
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
    """Percent that came within the tolerance; one that did not come is late."""
    high: float
    """The 99th percentile, in milliseconds."""
    drift: float
    """Milliseconds by which the last messages of the entries were later than the first, on average."""
    lost: int
    """How many did not come."""


@contextlib.contextmanager
def subscriber(place: Path, port: int) -> Iterator[Process]:
    """A process that has subscribed at the broker on this port. Raises RuntimeError if it cannot."""
    with running(python("benchmarks.arrivals", port), place, {}) as process:
        if process.stdout is None or process.stdout.readline() != _READY:
            raise RuntimeError(f"the subscriber could not subscribe; see {place / 'console.txt'}")
        yield process


def arrived(process: Process, port: int) -> Arrivals:
    """What has arrived at the subscriber, which ends with it: times by topic."""
    with load.connect(port) as opened:
        opened.sendall(load.publish_packet(END, b"", 0))
        opened.recv(4)
    return answer(process)


def lateness(times: Sequence[float], interval: float, count: int) -> list[float]:
    """Seconds by which each of an entry's first `count` messages came late, and infinity for one that did not come.

    The due times are a grid. Nobody says where it begins: it lies where the most punctual message is not late at all.
    """
    numbered: dict[int, float] = {}
    for time in times:
        numbered.setdefault(round((time - times[0]) / interval), time)
    late = {number: time - number * interval for number, time in numbered.items() if number < count}
    origin = min(late.values(), default=0.0)
    return [late.get(number, math.inf) - origin for number in range(count)]


def punctuality(lates: Sequence[Sequence[float]], tolerance: float, span: int) -> Punctuality:
    """Judge the lateness of each entry's messages; the drift is between the first and the last `span` of each."""
    everything = [late for entry in lates for late in entry]
    came = [late for late in everything if late < math.inf]
    if len(came) < 2:
        raise RuntimeError(f"{len(came)} of {len(everything)} messages arrived: too few to judge")
    within = 100 * sum(late <= tolerance for late in came) / len(everything)
    drift = _mean(entry[-span:] for entry in lates) - _mean(entry[:span] for entry in lates)
    high = quantiles(came, n=100, method="inclusive")[98]
    return Punctuality(within, 1000 * high, 1000 * drift, len(everything) - len(came))


def _mean(parts: Iterator[Sequence[float]]) -> float:
    came = [late for part in parts for late in part if late < math.inf]
    return fmean(came) if came else math.inf


def _receive(port: int) -> Arrivals:
    """Receive until the end is told."""
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
    """Subscribe, say so, receive until the end, and print when what has arrived."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arrivals", description=main.__doc__)
    parser.add_argument("port", type=int)
    print(json.dumps(_receive(parser.parse_args().port)))


if __name__ == "__main__":
    main()
