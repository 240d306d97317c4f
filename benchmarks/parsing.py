"""Parsing alone: from the bytes of a message to its readings, without broker and database."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks import hostile
from benchmarks.bench import Bench
from benchmarks.hostile import Hostile
from benchmarks.report import ReportLine, reference_loop
from broker.message import Message
from config import Settings
from ingest.payload import Parser
from streams.declaration import load
from streams.files import LIBRARY
from streams.own_topics import DeviceTopics

ROUNDS = 15
MEMBERS = 1_000
MAX_UPLINK, MAX_MEMBER = 25.0, 6.0
"""Microseconds that parsing may take."""
MAX_HOSTILE = 50.0
"""Milliseconds until a hostile payload is rejected."""
HOSTILE_ROUNDS = 3
NOW = datetime(2026, 1, 29, 14, 30, 46)
UPLINK = {
    "deduplicationId": "0b6a1f7e-1111-4222-8333-9b1c2d3e4f50",
    "time": "2026-01-29T14:30:45.775023242+00:00",
    "deviceInfo": {
        "tenantName": "ChirpStack",
        "applicationId": "6e0d9b1c-1111-4222-8333-0123456789ab",
        "applicationName": "barn",
        "deviceProfileName": "EM300",
        "deviceName": "barn north",
        "devEui": "24e124136c0a1b2c",
        "tags": {"row": "3"},
    },
    "devAddr": "00a1b2c3",
    "adr": True,
    "dr": 5,
    "fCnt": 411,
    "fPort": 85,
    "data": "AXVXA2ezAARofg==",
    "object": {"temperature": 14.3, "humidity": 39.5, "battery": 87},
    "rxInfo": [{"gatewayId": "0016c001f1a2b3c4", "uplinkId": 311702, "rssi": -97, "snr": 7.2}],
    "txInfo": {"frequency": 868100000},
}
SEVEN_PATHS = """topic = "application/+/device/{device_id}/event/up"
[timestamp]
field = "time"
[metrics]
temperature = "object.temperature"
humidity = "object.humidity"
battery = "object.battery"
rssi = "rxInfo[0].rssi"
snr = "rxInfo[0].snr"
frames = "fCnt"
frequency = "txInfo.frequency"
"""
METERS = """topic = "gateway/{device_id}"
explode = "readings"
[timestamp]
field = "t"
[metrics]
a = {}
b = {}
"""


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the microseconds for a message of `sensors`, an uplink, and one of many members."""
    folder = bench.folder("parsing")
    (folder / "uplinks.toml").write_text(SEVEN_PATHS)
    (folder / "meters.toml").write_text(METERS)
    (folder / "sensors.toml").write_bytes((LIBRARY.parent / "sensors.toml").read_bytes())
    parser = _parser(folder)
    loop = f"the reference loop took {reference_loop():.1f} ms"
    for case in CASES:
        yield case.measured(parser, loop)
    yield _slowest_hostile(bench.folder("hostile"), loop)


def _slowest_hostile(folder: Path, loop: str) -> ReportLine:
    """Return the milliseconds until the slowest of the hostile payloads is rejected."""
    taken = {case.name: _milliseconds(case, folder) for case in hostile.CASES}
    name = max(taken, key=lambda name: taken[name])
    slowest = taken[name]
    return ReportLine(
        f"reject the slowest of {len(taken)} hostile payloads",
        slowest,
        "ms",
        None,
        None,
        f"≤ {MAX_HOSTILE:g} ms",
        slowest <= MAX_HOSTILE,
        f"{name}; {loop}",
        {"milliseconds": [slowest]},
    )


def _milliseconds(case: Hostile, folder: Path) -> float:
    parser, message = hostile.parser_of(case, folder), hostile.message_of(case)
    rounds: list[float] = []
    for _ in range(HOSTILE_ROUNDS):
        parser.parse(hostile.OTHER)  # so that nothing is remembered of the last round
        began = time.thread_time()
        parser.parse(message)
        rounds.append(1000 * (time.thread_time() - began))
    return min(rounds)


def _parser(folder: Path) -> Parser:
    topics = DeviceTopics.of(Settings(_env_file=None))
    return Parser(load(folder, {}, topics))


@dataclass(frozen=True)
class ParsingCase:
    """A message that is parsed again and again."""

    name: str
    topic: str
    payload: object
    members: int = 1
    most: float | None = None
    """The microseconds that a reading may take."""

    def measured(self, parser: Parser, note: str) -> ReportLine:
        """Return the line with the microseconds for a reading."""
        message = Message(self.topic, msgspec.json.encode(self.payload), NOW)
        parser.parse(message)
        times = 2_000 // self.members
        rounds = [_microseconds(parser, message, times) / self.members for _ in range(ROUNDS)]
        required = f"≤ {self.most:g} µs" if self.most else ""
        reached = min(rounds) <= self.most if self.most else None
        samples = {"microseconds": rounds}
        return ReportLine(
            self.name, min(rounds), "µs", None, None, required, reached, note, samples
        )


CASES = [
    ParsingCase(
        "parse a message of sensors",
        "sensors/a/data",
        {
            "temperature": 24.5,
            "vibration": 12.3,
            "gas": 450,
            "power": 250.5,
            "timestamp": 1769697045.5,
        },
    ),
    ParsingCase(
        "parse an uplink, seven paths",
        "application/1/device/24e124136c0a1b2c/event/up",
        UPLINK,
        most=MAX_UPLINK,
    ),
    ParsingCase(
        "parse one of 1,000 members",
        "gateway/a",
        {"readings": [{"t": 1769697045 - i, "a": i + 0.5, "b": i} for i in range(MEMBERS)]},
        MEMBERS,
        MAX_MEMBER,
    ),
]


def _microseconds(parser: Parser, message: Message, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        parser.parse(message)
    return (time.process_time() - started) / times * 1e6
