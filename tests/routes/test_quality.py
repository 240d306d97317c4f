"""`/api/<stream>/quality`: which devices send no values of optional metrics, or unreadable ones."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from models import VERIFY_DEVICE
from tests.api import Api, running

pytestmark = pytest.mark.database

BOARDS = (
    'topic = "boards/{device_id}"\n[metrics.power]\nrequired = true\n[metrics.t]\n[metrics.h]\n'
)
READINGS: list[tuple[str, dict[str, Any]]] = [
    ("b2", {"t": None, "h": None}),
    ("b2", {"t": "ERR", "h": 41}),
    ("b1", {"t": "ERR"}),
    ("b3", {"t": 21.5}),
]
COLUMNS = ("device_id", "metric", "missing", "unreadable", "last_example")
FAULTS = [("b1", "t", 0, 1, '"ERR"'), ("b2", "h", 1, 0, "null"), ("b2", "t", 1, 1, '"ERR"')]


@pytest.fixture
def api(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Api]:
    """The API of boards, each with a DHT22 that may be broken, and of another stream."""
    folder = tmp_path / "streams"
    folder.mkdir()
    (folder / "boards.toml").write_text(BOARDS)
    (folder / "others.toml").write_text(BOARDS.replace("boards", "others"))
    with running(settings(streams_dir=folder)) as made:
        yield made


def post(api: Api, device: str, **values: Any) -> Any:
    return api.post("/api/boards/readings", {"power": 1} | values, device_id=device)


def test_a_broken_sensor_silences_no_other_and_is_shown(api: Api) -> None:
    assert api.get("/api/boards/quality") == {"data": []}
    for device, values in READINGS:
        post(api, device, **values)
    history = api.get("/api/boards/history")["data"]
    assert len(history) == len(READINGS)
    b2_before, b2, b1, _ = (row["created_at"] for row in reversed(history))
    times = [b1, b2_before, b2]
    expected = [
        dict(zip(COLUMNS, row, strict=True)) | {"last_at": at}
        for row, at in zip(FAULTS, times, strict=True)
    ]
    assert api.get("/api/boards/quality") == {"data": expected}


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("boards", {}, ["b1", "b2", "b2"]),
        ("boards", {"device_id": "b1"}, ["b1"]),
        ("boards", {"device_id": "b3"}, []),
        ("others", {}, []),
    ],
)
def test_it_is_of_a_stream_and_of_a_device_if_so_wished(
    path: str, query: dict[str, Any], expected: list[str], api: Api
) -> None:
    for device, values in READINGS:
        post(api, device, **values)
    rows = api.get(f"/api/{path}/quality", **query)["data"]
    assert [row["device_id"] for row in rows] == expected


def test_an_unreadable_value_is_kept_as_it_came(api: Api) -> None:
    answer = post(api, "b1", t="ERR", h="?")
    assert answer == {"stored": 1, "duplicate": 0, "rejected": 0, "errors": []}
    rejected = api.get("/api/rejected", reason="partly_read")
    (kept,) = rejected["data"]
    assert (kept["stream"], kept["device_id"]) == ("boards", "b1")
    assert kept["message"] == 't: not a number: "ERR"; h: not a number: "?"'
    assert kept["payload"] == '{"power": 1, "t": "ERR", "h": "?"}'
    assert rejected["counts"] == {"partly_read": 1}
    counts = api.get("/api/health")["http"]
    assert (counts["stored"], counts["rejected"], counts["values_left_out"]) == (1, 0, 2)


def test_a_required_metric_still_rejects_the_reading(api: Api) -> None:
    api.post("/api/boards/readings", {"power": None, "t": None}, expect=400, device_id="b1")
    assert api.get("/api/boards/quality") == {"data": []}
    assert api.get("/api/rejected")["counts"] == {"not_a_number": 1}


def test_the_device_of_flask_verify_is_left_out(api: Api) -> None:
    post(api, VERIFY_DEVICE, t=None)
    assert api.get("/api/boards/quality") == {"data": []}
    assert len(api.get("/api/boards/quality", device_id=VERIFY_DEVICE)["data"]) == 1
