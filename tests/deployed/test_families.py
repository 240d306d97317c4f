"""One device of each family, from a real broker to the answers of REST."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from streams.checks import StreamError
from streams.declaration import load
from tests.families import CASES, Case, payload_of
from tests.live import at_broker, serving
from tests.support import DEVICE_TOPICS, BackendProcess, Mosquitto, publishing, wait_for

pytestmark = [pytest.mark.process, pytest.mark.long]


def of_each_family() -> list[Case]:
    """The first message of each family that is stored, and not because it is retained."""
    stored = [case for case in CASES if case["outcome"] == "stored" and not case.get("retain")]
    return list({case["family"]: case for case in reversed(stored)}.values())


def beside_each_other(folder: Path, cases: list[Case]) -> Iterator[list[Case]]:
    """Groups of families whose topics can be declared together; `folder` has the last one's files."""
    left = cases
    while left:
        for file in folder.glob("*.toml"):
            file.unlink()
        group: list[Case] = []
        later: list[Case] = []
        for case in left:
            file = folder / f"f{len(group)}.toml"
            file.write_text(case["stream"])
            if fits(folder, [*group, case]):
                group.append(case)
            else:
                file.unlink()
                later.append(case)
        assert group, later
        yield group
        left = later


def fits(folder: Path, cases: list[Case]) -> bool:
    """Whether each message is one of its own stream."""
    try:
        streams = load(folder, {}, DEVICE_TOPICS)
    except StreamError:
        return False
    found = [streams.match(case["topic"]) for case in cases]
    named = [match and match.stream.name for match in found]
    return not streams.unusable and named == [f"f{index}" for index in range(len(cases))]


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
    folder = tmp_path / "streams"
    folder.mkdir()
    for number, group in enumerate(beside_each_other(folder, families)):
        own = tmp_path / f"backend{number}"
        place = at_broker(own, mosquitto, DATABASE_URL=database_url, STREAMS_DIR=str(folder))
        with serving(place) as backend:
            publish_all(backend, mosquitto.port, group)
            for index, case in enumerate(group):
                check(backend, f"f{index}", case)


def publish_all(backend: BackendProcess, port: int, group: list[Case]) -> None:
    """Publish the messages, and wait until they are stored."""
    expected = received(backend) + len(group)
    with publishing(port) as publish:
        for case in group:
            publish(case["topic"], payload_of(case))
    wait_for(lambda: received(backend) == expected, what="all messages")


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
