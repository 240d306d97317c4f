"""Boolean and integer metrics, from a reading to every answer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from tests.api import Api, running

DECLARED = """
topic = "pumps/{device_id}"
[metrics.running]
type = "boolean"
[metrics.cycles]
type = "integer"
unit = "cycles"
"""
BIG = 9007199254740993


@pytest.fixture
def api(settings: Callable[..., Settings], database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API of a stream with metrics of both types, over a database of each kind."""
    (tmp_path / "pumps.toml").write_text(DECLARED)
    with running(settings(database_url=database_url, streams_dir=tmp_path)) as made:
        yield made


def reading(second: int, **values: Any) -> dict[str, Any]:
    return {"device_id": "p1", "timestamp": f"2026-01-29T12:00:0{second}Z", **values}


def submit(api: Api, *readings: dict[str, Any]) -> Any:
    return api.post("/api/pumps/readings", list(readings))


def test_every_answer_has_the_values_exactly(api: Api) -> None:
    given = [
        reading(1, running=True, cycles=BIG),
        reading(2, running="off", cycles=-BIG),
        reading(3, running=1),
        reading(4, cycles="12"),
    ]
    assert submit(api, *given)["stored"] == 4
    newest, *_, oldest = api.get("/api/pumps/history")["data"]
    assert (oldest["running"], oldest["cycles"]) == (True, BIG)
    assert (newest["running"], newest["cycles"]) == (None, 12)
    assert api.get("/api/pumps/latest")["data"]["cycles"] == 12
    data = api.get("/api/pumps/ml-data")["data"]
    assert data["running"] == [True, False, True, None]
    assert data["cycles"] == [BIG, -BIG, None, 12]


def test_true_counts_as_1_in_statistics_and_integers_stay_exact(api: Api) -> None:
    assert (
        submit(api, *(reading(n, running=n < 3, cycles=BIG + n) for n in range(4)))["stored"] == 4
    )
    assert api.get("/api/pumps/stats")["stats"] == {
        "count": 4,
        "avg_running": 0.75,
        "min_running": 0.0,
        "max_running": 1.0,
        "avg_cycles": pytest.approx(BIG + 1.5),
        "min_cycles": BIG,
        "max_cycles": BIG + 3,
    }


def test_a_sum_of_integers_may_exceed_64_bits(api: Api) -> None:
    largest = 2**63 - 1
    assert submit(api, *(reading(n, cycles=largest) for n in range(3)))["stored"] == 3
    stats = api.get("/api/pumps/stats")["stats"]
    assert stats["avg_cycles"] == pytest.approx(largest)
    assert stats["max_cycles"] == largest


def test_the_same_values_in_another_spelling_are_one_reading(api: Api) -> None:
    assert submit(api, reading(1, running=True, cycles=BIG))["stored"] == 1
    again = submit(api, reading(1, running="ON", cycles=f"{BIG}"))
    assert (again["stored"], again["duplicate"]) == (0, 1)
    other = submit(api, reading(1, running=True, cycles=BIG - 1))
    assert (other["stored"], other["duplicate"]) == (1, 0)


def test_the_table_fits_at_the_next_start(
    api: Api, settings: Callable[..., Settings], database_url: str, tmp_path: Path
) -> None:
    assert submit(api, reading(1, running=False, cycles=1))["stored"] == 1
    with running(settings(database_url=database_url, streams_dir=tmp_path)) as later:
        assert later.get("/api/pumps/latest")["data"]["running"] is False
        assert later.get("/api/health")["streams"]["unusable"] == {}
