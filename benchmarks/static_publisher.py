"""The static publisher, `python -m publisher`: how much, how punctually, and with how much memory.

What was published, acknowledged, failed and missed is what the program itself saves every five seconds, with its
uptime. Where a subscriber listens, in a process of its own, what arrives there must be as many messages as were
acknowledged; it listens in parts of their own, because it would take the CPU from the publisher where a rate is
measured. The memory is that of the same runs, at their ends: while they publish what is required.
"""

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker
from benchmarks.arrivals import TOPIC, Arrivals, arrived, lateness, punctuality, subscriber
from benchmarks.bench import Bench
from benchmarks.processes import Process, python, running, settings
from benchmarks.report import Line
from utils.descriptors import allow

ENTRIES, MANY = 1_000, 10_000
RATE = 10_000
PLAIN_MESSAGES, PLAIN_WINDOW = 50_000, 1_000
SECONDS, QUICK_SECONDS = 30, 5
# A little more than is required is offered, and nothing of it may be missed; and much more than it can do.
OFFERED, OVERLOAD = 10_500, 40_000
CONFIRMED_SECONDS = 3
PUNCTUAL_ENTRIES, PUNCTUAL_SECONDS, QUICK_PUNCTUAL_SECONDS = 100, 60, 10
TOLERANCE = 0.01
PUNCTUAL_SHARE = 99
ROUNDS = 3
INTERVAL, QUICK_INTERVAL = 10, 3
_SPAN = 10
_MEGABYTE = 1_000_000
_BASE_BYTES, _ENTRY_BYTES = 60_000_000, 2_000
_LOOK_SECONDS = 0.5
_STALLED_SECONDS = 60
Document = dict[str, Any]


class Publisher(NamedTuple):
    """The program, running."""

    process: Process
    statistics: Path
    started: float
    """Monotonic seconds."""

    def saved(self, condition: Callable[[Document], bool], seconds: float = _STALLED_SECONDS) -> Document:
        """The first status it saves of which the condition holds. Raises TimeoutError, RuntimeError if it ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.require_alive()
            if self.statistics.exists() and condition(status := self.status()):
                return status
            time.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"waited {seconds:.0f} s in vain for a status of the publisher")

    def require_alive(self) -> None:
        """Raises RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the publisher of {self.statistics} ended with {self.process.returncode}")

    def status(self) -> Document:
        """What it saved last."""
        found: Document = json.loads(self.statistics.read_bytes())
        return found

    def memory(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


class Sustained(NamedTuple):
    """How much was published over a while."""

    rate: float
    """Acknowledged messages a second."""
    missed: int
    """Of all since the start: could not be published when they were due."""
    failed: int
    published: int
    memory: int
    """Resident bytes, at the end."""


class Site(NamedTuple):
    """Where it is measured."""

    bench: Bench
    place: Path
    port: int

    @contextlib.contextmanager
    def publishing(self, name: str, count: int, interval: float, lwt: bool = False) -> Iterator[Publisher]:
        """The program with so many entries of one interval."""
        place = self.place / name
        place.mkdir()
        file = place / "entries.json"
        file.write_text(json.dumps([entry(number, interval, lwt) for number in range(count)]))
        environment = settings(place, f"sqlite:///{place}/unused.db", self.port)
        del environment["DATABASE_URL"]  # it needs none, and is measured as where there is none
        started = time.monotonic()
        with running(python("publisher", "--config", file), place, environment) as process:
            publisher = Publisher(process, Path(f"{file}.statistics"), started)
            yield publisher
            publisher.require_alive()
        if process.returncode != 0:
            raise RuntimeError(f"the publisher of {file} ended with {process.returncode}")

    def sustained(self, name: str, count: int, interval: float, lwt: bool = False) -> Sustained:
        """Publish until it has been connected for so long as the rate is measured."""
        seconds = QUICK_SECONDS if self.bench.quick else SECONDS
        with self.publishing(name, count, interval, lwt) as publisher:
            first = publisher.saved(lambda status: bool(status["connected"]))["statistics"]
            time.sleep(seconds)
            enough = first["uptime_seconds"] + seconds - 0.5  # a save may come that much early after a late one
            last = publisher.saved(lambda status: bool(status["statistics"]["uptime_seconds"] > enough))["statistics"]
            memory = publisher.memory()
        acknowledged = last["total_acknowledged"] - first["total_acknowledged"]
        rate = acknowledged / (last["uptime_seconds"] - first["uptime_seconds"])
        return Sustained(rate, last["total_missed"], last["total_failed"], last["total_published"], memory)

    def heard(self, name: str, count: int, interval: float, seconds: float) -> "Heard":
        """Publish for so long, and hear it. Raises RuntimeError if what arrived is not what was acknowledged."""
        with subscriber(self.place, self.port) as process:
            with self.publishing(name, count, interval) as publisher:
                time.sleep(seconds)
                memory = publisher.memory()
            arrivals = arrived(process, self.port)
        status = publisher.status()
        number, told = sum(map(len, arrivals.values())), status["statistics"]["total_acknowledged"]
        if number != told or not number:
            raise RuntimeError(f"{name}: {told} messages were acknowledged, and {number} arrived at a subscriber")
        return Heard(arrivals, status, publisher.started, memory)


class Heard(NamedTuple):
    """What a subscriber heard, and what the program told of it at its end."""

    arrivals: Arrivals
    status: Document
    started: float
    memory: int


def measure(bench: Bench) -> Iterator[Line]:
    """Publishes a second, punctuality, memory, and 10,000 entries."""
    place = bench.place("publisher")
    obstacle = allow(ENTRIES)  # for the broker, which inherits it
    if obstacle is not None:
        raise RuntimeError(f"the broker {obstacle}")
    with broker.fitting(place / "broker") as port:
        site = Site(bench, place, port)
        yield from _rates(site)
        yield _punctuality(site)
        yield from _many(site)


def entry(number: int, interval: float, lwt: bool) -> Document:
    """An entry as the document shows one."""
    return {
        "id": f"entry-{number}",
        "topic": TOPIC.format(number=number),
        "data": {"sensor_id": f"SENSOR_{number:03d}", "temperature": 25.5, "humidity": 60},
        "interval": interval,
        "qos": 1,
        "retain": False,
        "lwt": lwt,
        "created_at": "2025-09-29T16:27:50.000000",
        "updated_at": "2025-09-29T16:27:50.000000",
        "version": 1,
    }


def _rates(site: Site) -> Iterator[Line]:
    plain = _plain(site.port, site.bench.size(PLAIN_MESSAGES))
    confirmed = site.heard("confirmed", ENTRIES, ENTRIES / OFFERED, CONFIRMED_SECONDS).status["statistics"]
    shared = site.sustained("shared", ENTRIES, ENTRIES / OFFERED)
    most = site.sustained("most", ENTRIES, ENTRIES / OVERLOAD)
    wills = site.sustained("wills", ENTRIES, ENTRIES / OFFERED, lwt=True)
    yield _required(site.bench, shared, plain, confirmed["total_acknowledged"])
    yield _compared("publisher, all it can", most, plain, f"1,000 entries on one connection, {OVERLOAD:,}/s due")
    yield _compared("publisher, last wills", wills, plain, f"1,000 entries with a connection each, {OFFERED:,}/s due")
    yield _memory("publisher's memory, 1,000 entries", shared.memory, ENTRIES)
    yield _memory("publisher's memory, 1,000 last wills", wills.memory, ENTRIES)


def _required(bench: Bench, shared: Sustained, plain: float, confirmed: int) -> Line:
    note = (
        f"1,000 entries at QoS 1, {OFFERED:,}/s due, {shared.missed} missed and {shared.failed} failed since the "
        f"start; ratio to what is required; {shared.rate / plain:.2f} times paho's loop_start(); {bench.broker}; "
        f"in a part of its own a subscriber got all {confirmed:,} that were acknowledged"
    )
    reached = shared.rate >= RATE and not shared.missed and not shared.failed
    return Line(
        "publisher",
        shared.rate,
        "publishes/s",
        None,
        shared.rate / RATE,
        f"≥ {RATE:,} publishes/s, none missed",
        reached if bench.mosquitto else None,
        note,
    )


def _compared(name: str, measured: Sustained, plain: float, what: str) -> Line:
    fell_due = measured.published + measured.missed
    note = (
        f"{what}, of which {measured.missed:,} of {fell_due:,} were missed and {measured.failed} failed; "
        f"baseline: publishing with paho's loop_start() in a loop, up to {PLAIN_WINDOW:,} unacknowledged"
    )
    return Line(name, measured.rate, "publishes/s", plain, measured.rate / plain, note=note)


def _memory(name: str, used: int, entries: int) -> Line:
    limit = _BASE_BYTES + entries * _ENTRY_BYTES
    note = "resident; 60 MB and 2 KB an entry, of 1,000,000 and 1,000 bytes; ratio to that"
    megabytes, most = used / _MEGABYTE, limit / _MEGABYTE
    return Line(name, megabytes, "MB", None, used / limit, f"≤ {most:.0f} MB", used <= limit, note)


def _punctuality(site: Site) -> Line:
    seconds = QUICK_PUNCTUAL_SECONDS if site.bench.quick else PUNCTUAL_SECONDS
    # The last of them begins after a second, and before it the program must have started.
    heard = site.heard("punctual", PUNCTUAL_ENTRIES, 1, seconds + 4)
    names = [TOPIC.format(number=number) for number in range(PUNCTUAL_ENTRIES)]
    lates = [lateness(heard.arrivals.get(name, ()), 1, seconds) for name in names]
    span = min(_SPAN, seconds // 2)
    found = punctuality(lates, TOLERANCE, span)
    note = (
        f"{PUNCTUAL_ENTRIES} entries of 1 s over {seconds} s, at a subscriber on this machine: 99 % within "
        f"{found.high:.1f} ms, {found.lost} did not come, the last {span} s are on average {found.drift:+.2f} ms later "
        f"than the first; ratio to what is required"
    )
    reached = found.within >= PUNCTUAL_SHARE
    ratio = found.within / PUNCTUAL_SHARE
    samples = {"ms": [round(1000 * late, 3) for entry in lates for late in entry if late < 1]}
    required = f"≥ {PUNCTUAL_SHARE} %"
    return Line("publishes within 10 ms", found.within, "%", None, ratio, required, reached, note, samples)


def _many(site: Site) -> Iterator[Line]:
    interval = QUICK_INTERVAL if site.bench.quick else INTERVAL
    watched = (ROUNDS - 1) * interval
    heard = site.heard("many", MANY, interval, watched + 6)
    told = heard.status["statistics"]
    complete = sum(max(lateness(times, interval, ROUNDS)) < interval / 2 for times in heard.arrivals.values())
    seconds = max(times[0] for times in heard.arrivals.values()) - heard.started
    note = (
        f"from the start of the process until each was published, every {interval} s; ratio: those of which nothing "
        f"was missed in the {watched} s after that; {told['total_missed']} missed and {told['total_failed']} failed"
    )
    reached = complete == MANY and not told["total_missed"] and not told["total_failed"]
    yield Line("10,000 entries", seconds, "s", None, complete / MANY, "all, none missed", reached, note)
    yield _memory("publisher's memory, 10,000 entries", heard.memory, MANY)


def _plain(port: int, messages: int) -> float:
    """Messages a second that paho's `loop_start()` publishes at QoS 1, in a loop, until the last is acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    payload = json.dumps(entry(0, 1, lwt=False)["data"])
    unacknowledged: deque[paho.MQTTMessageInfo] = deque()
    started = time.perf_counter()
    for number in range(messages):
        unacknowledged.append(client.publish(TOPIC.format(number=number % ENTRIES), payload, qos=1))
        if len(unacknowledged) == PLAIN_WINDOW:
            unacknowledged.popleft().wait_for_publish(60)
    for info in unacknowledged:
        info.wait_for_publish(60)
    seconds = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return messages / seconds
