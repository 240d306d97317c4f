"""One device of each family, from a real broker to the answers of REST."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from streams.checks import StreamError
from streams.conflicts import check_conflicts
from streams.declaration import load
from streams.matching import TopicMatcher
from streams.stream import Stream
from tests.families import CASES, Case, payload_of
from tests.live import at_broker, serving
from tests.support import DEVICE_TOPICS, BackendProcess, Mosquitto, publishing, wait_for

pytestmark = [pytest.mark.process, pytest.mark.long]


Named = dict[str, Case]
"""By the name of the stream."""


def of_each_family() -> Named:
    """The first message of each family that is stored, and not because it is retained."""
    stored = [case for case in CASES if case["outcome"] == "stored" and not case.get("retain")]
    first = {case["family"]: case for case in reversed(stored)}
    return {
        f"f{index}": on_own_topic(f"f{index}", case) for index, case in enumerate(first.values())
    }


def on_own_topic(name: str, case: Case) -> Case:
    """The case of no known product on a topic of its own: several have `x/…`."""
    if not case["topic"].startswith("x/"):
        return case
    topic, stream = case["topic"], case["stream"]
    return case | {"topic": f"{name}{topic[1:]}", "stream": stream.replace('"x/', f'"{name}/')}


def declared(folder: Path, cases: Named) -> dict[str, Stream]:
    """The streams, each read from a folder of its own."""
    streams: dict[str, Stream] = {}
    for name, case in cases.items():
        own = folder / name
        own.mkdir(parents=True)
        (own / f"{name}.toml").write_text(case["stream"])
        streams[name] = load(own, {}, DEVICE_TOPICS)[name]
    return streams


def beside_each_other(streams: dict[str, Stream], cases: Named) -> Iterator[Named]:
    """Groups of families whose topics can be declared together."""
    left = cases
    while left:
        group: Named = {}
        for name, case in left.items():
            if fits(streams, {**group, name: case}, name):
                group[name] = case
        assert group, left.keys()
        yield group
        left = {name: case for name, case in left.items() if name not in group}


def fits(streams: dict[str, Stream], cases: Named, new: str) -> bool:
    """Whether a stream conflicts with none of the others, and each message is one of its own."""
    others = [streams[name] for name in cases if name != new]
    try:
        check_conflicts(streams[new], others, DEVICE_TOPICS)
    except StreamError:
        return False
    all_streams = [*others, streams[new]]
    matcher = TopicMatcher([(topic, one) for one in all_streams for topic in one.topics])
    found = {name: matcher.match(case["topic"]) for name, case in cases.items()}
    return all(match is not None and match.stream.name == name for name, match in found.items())


def readings(backend: BackendProcess, stream: str, device_id: str) -> list[dict[str, Any]]:
    """Its readings, the one stored first at the front, without the metrics that have no value."""
    query = urlencode({"device_id": device_id})
    _, answer = backend.get(f"/api/{stream}/history?{query}")
    rows = sorted(answer["data"], key=lambda row: int(row["id"]))
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_device_of_each_family_is_read_from_the_broker_to_rest(
    tmp_path: Path, mosquitto: Mosquitto, database_url: str
) -> None:
    families = of_each_family()
    assert len(families) > 50
    streams = declared(tmp_path / "alone", families)
    for number, group in enumerate(beside_each_other(streams, families)):
        folder = tmp_path / f"streams{number}"
        folder.mkdir()
        for name, case in group.items():
            (folder / f"{name}.toml").write_text(case["stream"])
        own = tmp_path / f"backend{number}"
        place = at_broker(own, mosquitto, DATABASE_URL=database_url, STREAMS_DIR=str(folder))
        with serving(place) as backend:
            publish_all(backend, mosquitto.port, group)
            for name, case in group.items():
                check(backend, name, case)


def publish_all(backend: BackendProcess, port: int, group: Named) -> None:
    """Publish the messages, and wait until they are stored."""
    expected = received(backend) + len(group)
    with publishing(port) as publish:
        for case in group.values():
            publish(case["topic"], payload_of(case))
    # A redelivery counts once more.
    wait_for(lambda: received(backend) >= expected, 60, "all messages")


def received(backend: BackendProcess) -> int:
    return int(backend.get("/api/health")[1]["mqtt"]["received"])


def check(backend: BackendProcess, stream: str, case: Case) -> None:
    for device_id in {one["device"] for one in case["expect"]}:
        expected = [one for one in case["expect"] if one["device"] == device_id]
        found = readings(backend, stream, device_id)
        assert len(found) == len(expected), (case["family"], found)
        for row, one in zip(found, expected, strict=True):
            metrics = {name: row.get(name) for name in one["metrics"]}
            assert metrics == one["metrics"], case["family"]
            if one["timestamp"] is not None:
                assert row["timestamp"][:19] == one["timestamp"][:19], case["family"]
