"""Values near the end of what a number can be, and streams with very many metrics: answers all the same."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import PROJECT, Settings
from tests.api import Api, handlers, reading, running

pytestmark = pytest.mark.long

HUGE = 1.7e308
SUBMITTED = (HUGE, HUGE, -HUGE, 5e-324, 1e-300)


def test_the_average_that_cannot_be_had_is_null_and_the_other_figures_are_there(api: Api) -> None:
    api.submit(*(reading(second=place, temperature=HUGE, gas=place) for place in range(2)))
    stats = api.get("/api/sensors/stats")["stats"]
    assert stats["count"] == 2
    assert (stats["avg_temperature"], stats["min_temperature"], stats["max_temperature"]) == (
        None,
        HUGE,
        HUGE,
    )
    assert (stats["avg_gas"], stats["max_gas"]) == (0.5, 1)
    assert api.get("/api/sensors/stats", device_id="another")["stats"]["avg_gas"] is None


PATHS = [
    "/api/sensors/stats",
    "/api/sensors/history",
    "/api/sensors/ml-data",
    "/api/anything/stats",
    "/api/anything/history",
    "/api/anything/ml-data",
    "/api/machines/oee?device_id=m&from=2026-01-29&to=2026-01-30",
    "/api/panels/energy?device_id=p&from=2026-01-29&to=2026-01-30",
    "/api/soil/history?health=1",
    "/api/soil-health/history",
    "/api/sensor/history",
    "/api/mqtt/history?topic=panel/p/volt",
]
WITHOUT_VALUES = ["/api/control", "/api/rejected", "/api/sensors/clocks"]
"""Pages that show no values of metrics."""
PAYLOADS: dict[str, Callable[[float], dict[str, Any]]] = {
    "sensors": lambda value: reading(temperature=value, gas=value, power=value, vibration=value),
    "machines": lambda value: {
        "machine_id": "m",
        "machine_status": "Running",
        "performance_rate": value,
        "quality_rate": value,
        "cumulative_production": value,
    },
    "anything": lambda value: {"device_id": "a", "number": value},
    "panels": lambda value: {"device_id": "p", "power": value, "volt": value, "energy": value},
    "soil": lambda value: {
        "publisher_id": "s",
        "sensor_readings": dict.fromkeys(
            ("N", "P", "K", "CO2", "Temperature", "Moisture", "pH"), value
        ),
    },
}


@pytest.fixture
def full(api: Api) -> Api:
    """Every shipped stream with values from the ends of the range."""
    for stream, payload in PAYLOADS.items():
        bodies = [
            payload(value) | {"timestamp": f"2026-01-29T12:{place:02}:00Z"}
            for place, value in enumerate(SUBMITTED)
        ]
        answer = api.post(f"/api/{stream}/readings", bodies)
        assert answer["stored"], (stream, answer)
    return api


def test_every_page_and_every_time_range_of_values_is_asked_here(sqlite_api: Api) -> None:
    answers = handlers(sqlite_api.app)
    asked = {answers[path.split("?")[0]] for path in PATHS + WITHOUT_VALUES}
    documented = sqlite_api.get("/api/docs/openapi.json")["paths"]
    for path, methods in documented.items():
        names = {it["name"] for it in methods.get("get", {}).get("parameters", [])}
        assert not names & {"from", "limit"} or answers[path] in asked, path


@pytest.mark.parametrize("path", PATHS)
def test_no_answer_fails_or_is_no_json_because_of_a_huge_value(full: Api, path: str) -> None:
    response = full.client.get(path)
    assert response.status_code == 200, response.text

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    json.loads(response.text, parse_constant=refuse)


def test_statistics_of_very_many_metrics_are_answered(
    settings: Callable[..., Settings], database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "sensors.toml").write_text((PROJECT / "streams" / "sensors.toml").read_text())
    wide = "".join(f"[metrics.m{number}]\n" for number in range(700))
    (folder / "wide.toml").write_text(f'topic = "wide/{{device_id}}"\n{wide}')
    values = {f"m{number}": number for number in range(700)}
    with running(settings(database_url=database_url, streams_dir=folder)) as api:
        assert api.post("/api/wide/readings", {"device_id": "a", **values})["stored"] == 1
        stats = api.get("/api/wide/stats")["stats"]
        data = api.get("/api/wide/ml-data")["data"]
        assert api.get("/api/wide/latest")["data"]["m699"] == 699
    assert len(stats) == 1 + 3 * 700
    assert all(stats[f"avg_m{number}"] == number for number in range(700))
    assert math.isclose(sum(data[f"m{number}"][0] for number in range(700)), 700 * 699 / 2)
