"""`/api/<stream>/latest` of topics per metric, and what is said where a device is not known; on every database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.message import Message
from config import Settings
from database import Unavailable
from ingest.presence import PresenceNotice, PresenceNotices
from tests.api import Api, noon, reading, running
from tests.support import DEVICE_TOPICS
from utils import clock

USED_STREAMS = ""

PANELS = "/api/panels/latest"
METRICS = ("voltage", "ampere", "power", "energy_cost")
NEVER = "No reading and no status of this device has ever been seen"


def told(api: Api, device_id: str, second: int, **values: float) -> None:
    """Store a value as it comes on the topic of its metric."""
    for metric, value in values.items():
        body = {"value": value, "timestamp": noon(second)}
        assert (
            api.post("/api/panels/readings", body, device_id=device_id, metric=metric)["stored"]
            == 1
        )


# topics per metric


def test_it_has_the_newest_value_of_each_metric_and_its_time(api: Api) -> None:
    told(api, "p1", 1, voltage=230, ampere=15)
    told(api, "p1", 2, voltage=231)
    told(api, "p1", 3, power=3500)
    found = api.get(PANELS, device_id="p1")["data"]
    assert [found[name] for name in METRICS] == [231, 15, 3500, None]
    assert found["times"] == {
        "voltage": noon(2), "ampere": noon(1), "power": noon(3), "energy_cost": None,
    }  # fmt: skip
    newest = api.get("/api/panels/history", device_id="p1", limit=1)["data"][0]
    assert [found[name] for name in ("id", "device_id", "timestamp", "created_at")] == [
        newest[name] for name in ("id", "device_id", "timestamp", "created_at")
    ]


def test_a_value_that_came_late_does_not_replace_a_newer_one(api: Api) -> None:
    told(api, "p1", 5, voltage=235)
    told(api, "p1", 1, voltage=231, ampere=15)
    found = api.get(PANELS, device_id="p1")["data"]
    assert (found["voltage"], found["ampere"], found["timestamp"]) == (235, 15, noon(5))


def test_without_a_device_it_is_that_of_the_one_heard_last_and_never_a_mixture(api: Api) -> None:
    told(api, "p1", 9, voltage=231, ampere=15)
    told(api, "p2", 1, power=3500)
    found = api.get(PANELS)["data"]
    assert (found["device_id"], found["timestamp"]) == ("p2", noon(1))
    assert [found[name] for name in METRICS] == [None, None, 3500, None]
    told(api, "p1", 2, power=70)
    found = api.get(PANELS)["data"]
    assert (found["device_id"], [found[name] for name in METRICS]) == ("p1", [231, 15, 70, None])


def test_other_streams_answer_with_one_reading_as_it_was_sent(sqlite_api: Api) -> None:
    sqlite_api.submit(reading("a", 1), reading("b", 3), reading("c", 2))
    found = sqlite_api.get("/api/sensors/latest")["data"]
    assert found["device_id"] == "b"
    assert "times" not in found


def test_without_any_reading_it_is_404(sqlite_api: Api) -> None:
    assert sqlite_api.get(PANELS, expect=404) == {
        "message": "No panels readings found",
        "device_id": None,
    }


# devices that are not known


@pytest.mark.parametrize(
    ("asked", "similar"),
    [
        ("esp32_001", ["ESP32_001", "ESP32_002", "ESP32_003"]),
        ("ESP32_01", ["ESP32_001", "ESP32_002", "ESP32_003"]),
        ("BOILER", ["Boiler", "boiler"]),
        ("boilre", ["Boiler", "boiler"]),
        ("pump", None),
    ],
)
def test_a_device_without_readings_is_404_with_those_that_are_like_it(
    sqlite_api: Api, asked: str, similar: list[str] | None
) -> None:
    ids = ("ESP32_001", "ESP32_002", "ESP32_003", "boiler", "Boiler", "機器 42")
    sqlite_api.submit(*[reading(name) for name in ids])
    answer = sqlite_api.get("/api/sensors/latest", expect=404, device_id=asked)
    assert answer["message"] == "No sensor readings found"
    found = answer.get("similar")
    assert found is None if similar is None else set(found) == set(similar)
    if asked == "esp32_001":
        assert found[0] == "ESP32_001"


def test_ids_that_are_like_it_are_found_on_every_database(api: Api) -> None:
    api.submit(*[reading(f"ESP32_{number:04}") for number in range(1200)])
    answer = api.get("/api/sensors/latest", expect=404, device_id="esp32_0007")
    assert answer["similar"][0] == "ESP32_0007"
    assert len(answer["similar"]) == 3


@pytest.fixture
def commanding(settings: Callable[..., Settings], fast_broker: int) -> Iterator[Api]:
    """The API with a broker."""
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker)) as api:
        yield api


def command(api: Api, device_id: str, **query: Any) -> dict[str, Any]:
    """The answer to a command."""
    answer = api.post(
        "/api/control", {"device_id": device_id, "command": "ping"}, expect=202, **query
    )
    assert isinstance(answer, dict)
    return answer


@pytest.mark.process
def test_a_command_to_a_device_that_was_never_heard_says_so(commanding: Api) -> None:
    assert command(commanding, "ghost")["hint"] == NEVER
    commanding.submit(reading("ESP32_001"))
    assert command(commanding, "esp32_001")["hint"] == f"{NEVER}. Did you mean ESP32_001?"
    assert command(commanding, "esp32_001", wait=0.1)["hint"] == f"{NEVER}. Did you mean ESP32_001?"


@pytest.mark.process
def test_a_command_to_a_device_with_a_reading_or_a_status_has_no_hint(commanding: Api) -> None:
    commanding.submit(reading("measures"))
    assert "hint" not in command(commanding, "measures")
    told(commanding, "panel", 1, voltage=230)
    assert "hint" not in command(commanding, "panel")
    database = commanding.app.extensions["autoforge"].database
    with database.write() as connection, database.transaction(connection):
        now = clock.now()
        notice = PresenceNotice("online only", online=True, message=Message("", b"", now))
        PresenceNotices(DEVICE_TOPICS.status).apply(connection, [notice], now)
    assert "hint" not in command(commanding, "online only")


@pytest.mark.process
def test_a_command_is_sent_though_the_database_cannot_tell_who_was_heard(
    commanding: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr("queries.presence.presence", away)
    assert "hint" not in command(commanding, "ghost")
