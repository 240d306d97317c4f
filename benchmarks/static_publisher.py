"""The static publisher, `python -m publisher`: its rate, its punctuality and its memory.

In the parts with a subscriber, as many messages must arrive there as the publisher counts as
acknowledged. The subscriber is a separate process. It is absent where a rate is measured, because
it would take CPU time from the publisher.
The memory is measured at the end of these runs, while the publisher sends at the required rate.
"""

import json
import time
from collections import deque
from collections.abc import Iterator

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker
from benchmarks.arrivals import TOPIC, Punctuality, lateness, punctuality
from benchmarks.bench import Bench
from benchmarks.publisher_runs import PublisherBench, Sustained, entry
from benchmarks.report import ReportLine
from utils.descriptors import allow

ENTRIES, MANY = 1_000, 10_000
RATE = 10_000
PLAIN_MESSAGES, PLAIN_IN_FLIGHT = 50_000, 1_000
OFFERED = 10_500
"""Publishes due each second: a little more than required; none may be missed."""
OVERLOAD = 40_000
"""Publishes due each second: much more than the publisher can send."""
CONFIRMED_SECONDS = 3
PUNCTUAL_ENTRIES, PUNCTUAL_SECONDS, QUICK_PUNCTUAL_SECONDS = 100, 60, 10
TOLERANCE = 0.01
PUNCTUAL_SHARE = 99
ROUNDS = 3
INTERVAL, QUICK_INTERVAL = 10, 3
_SPAN = 10
_MEGABYTE = 1_000_000
_BASE_BYTES, _ENTRY_BYTES = 60_000_000, 2_000


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the publishes a second, the punctuality, the memory, and 10,000 entries."""
    folder = bench.folder("publisher")
    obstacle = allow(ENTRIES)  # the broker inherits the limit
    if obstacle is not None:
        raise RuntimeError(f"the broker {obstacle}")
    with broker.fitting(folder / "broker") as port:
        site = PublisherBench(bench, folder, port)
        yield from _rates(site)
        yield _punctuality(site)
        yield from _many(site)


def _rates(site: PublisherBench) -> Iterator[ReportLine]:
    plain = _plain(site.port, site.bench.size(PLAIN_MESSAGES))
    confirmed = site.observe("confirmed", ENTRIES, ENTRIES / OFFERED, CONFIRMED_SECONDS)
    acknowledged = confirmed.status["statistics"]["total_acknowledged"]
    shared = site.sustain("shared", ENTRIES, ENTRIES / OFFERED)
    most = site.sustain("most", ENTRIES, ENTRIES / OVERLOAD)
    wills = site.sustain("wills", ENTRIES, ENTRIES / OFFERED, lwt=True)
    yield _required(site.bench, shared, plain, acknowledged)
    on_one = f"1,000 entries on one connection, {OVERLOAD:,}/s due"
    yield _compared("publisher, all it can", most, plain, on_one)
    on_many = f"1,000 entries with a connection each, {OFFERED:,}/s due"
    yield _compared("publisher, last wills", wills, plain, on_many)
    yield _memory("publisher's memory, 1,000 entries", shared.memory, ENTRIES)
    yield _memory("publisher's memory, 1,000 last wills", wills.memory, ENTRIES)


def _required(bench: Bench, shared: Sustained, plain: float, confirmed: int) -> ReportLine:
    note = (
        f"1,000 entries at QoS 1, {OFFERED:,}/s due; {shared.missed} missed and {shared.failed} "
        f"failed since the start; ratio to the required rate; {shared.rate / plain:.2f} times "
        f"paho's loop_start(); {bench.broker}; in a separate run a subscriber received all "
        f"{confirmed:,} acknowledged messages"
    )
    reached = shared.rate >= RATE and not shared.missed and not shared.failed
    return ReportLine(
        "publisher",
        shared.rate,
        "publishes/s",
        ratio=shared.rate / RATE,
        required=f"≥ {RATE:,} publishes/s, none missed",
        reached=reached if bench.mosquitto else None,
        note=note,
    )


def _compared(name: str, measured: Sustained, plain: float, load: str) -> ReportLine:
    due = measured.published + measured.missed
    note = (
        f"{load}; {measured.missed:,} of {due:,} were missed and {measured.failed} failed; "
        f"baseline: paho's loop_start() in a loop, up to {PLAIN_IN_FLIGHT:,} in flight"
    )
    ratio = measured.rate / plain
    return ReportLine(name, measured.rate, "publishes/s", plain, ratio, note=note)


def _memory(name: str, used: int, entries: int) -> ReportLine:
    limit = _BASE_BYTES + entries * _ENTRY_BYTES
    return ReportLine(
        name,
        used / _MEGABYTE,
        "MB",
        ratio=used / limit,
        required=f"≤ {limit / _MEGABYTE:.0f} MB",
        reached=used <= limit,
        note="resident; ratio to the limit of 60,000,000 bytes and 2,000 bytes per entry",
    )


def _punctuality(site: PublisherBench) -> ReportLine:
    seconds = QUICK_PUNCTUAL_SECONDS if site.bench.quick else PUNCTUAL_SECONDS
    # The program needs time to start, and the last entry begins up to a second later.
    run = site.observe("punctual", PUNCTUAL_ENTRIES, 1, seconds + 4)
    names = [TOPIC.format(number=number) for number in range(PUNCTUAL_ENTRIES)]
    lates = [lateness(run.arrivals.get(name, ()), 1, seconds) for name in names]
    span = min(_SPAN, seconds // 2)
    result = punctuality(lates, TOLERANCE, span)
    return ReportLine(
        "publishes within 10 ms",
        result.within,
        "%",
        ratio=result.within / PUNCTUAL_SHARE,
        required=f"≥ {PUNCTUAL_SHARE} %",
        reached=result.within >= PUNCTUAL_SHARE,
        note=_punctuality_note(result, seconds, span),
        samples={"ms": [round(1000 * late, 3) for entry in lates for late in entry if late < 1]},
    )


def _punctuality_note(result: Punctuality, seconds: int, span: int) -> str:
    return (
        f"{PUNCTUAL_ENTRIES} entries of 1 s over {seconds} s, at a subscriber on this machine: "
        f"99 % within {result.high:.1f} ms, {result.lost} lost; the last {span} s are on average "
        f"{result.drift:+.2f} ms later than the first; ratio to the required share"
    )


def _many(site: PublisherBench) -> Iterator[ReportLine]:
    interval = QUICK_INTERVAL if site.bench.quick else INTERVAL
    watched = (ROUNDS - 1) * interval
    run = site.observe("many", MANY, interval, watched + 6)
    statistics = run.status["statistics"]
    missed, failed = statistics["total_missed"], statistics["total_failed"]
    latest = [max(lateness(times, interval, ROUNDS)) for times in run.arrivals.values()]
    complete = sum(late < interval / 2 for late in latest)
    note = (
        f"from the start of the process until each entry, due every {interval} s, was published; "
        f"ratio: entries without a miss in the following {watched} s; "
        f"{missed} missed and {failed} failed"
    )
    yield ReportLine(
        "10,000 entries",
        max(times[0] for times in run.arrivals.values()) - run.started,
        "s",
        ratio=complete / MANY,
        required="all, none missed",
        reached=complete == MANY and not missed and not failed,
        note=note,
    )
    yield _memory("publisher's memory, 10,000 entries", run.memory, MANY)


def _plain(port: int, messages: int) -> float:
    """Return the QoS 1 messages a second of paho's `loop_start()`, until all are acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    payload = json.dumps(entry(0, 1, lwt=False)["data"])
    in_flight: deque[paho.MQTTMessageInfo] = deque()
    started = time.perf_counter()
    for number in range(messages):
        topic = TOPIC.format(number=number % ENTRIES)
        in_flight.append(client.publish(topic, payload, qos=1))
        if len(in_flight) == PLAIN_IN_FLIGHT:
            in_flight.popleft().wait_for_publish(60)
    for info in in_flight:
        info.wait_for_publish(60)
    seconds = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return messages / seconds
