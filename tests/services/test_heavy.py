"""Heavy requests: a few run at a time, some wait, and the others are answered with 503."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import services.heavy
from app import create_app
from config import Settings
from services.heavy import HEAVY_ROWS, Busy, Turns
from tests.api import Api, handlers, running

pytestmark = pytest.mark.long

DAY = "device_id=a&from=2026-01-01&to=2026-01-02"
HEAVY = {
    "energy": f"/api/panels/energy?{DAY}",
    "oee": f"/api/machines/oee?{DAY}",
    "stats": "/api/sensors/stats",
    "many samples": f"/api/sensors/ml-data?limit={HEAVY_ROWS + 1}",
    "a page far back": f"/api/sensors/history?offset={HEAVY_ROWS}",
    "clocks of many devices": "/api/sensors/clocks",
    "faults of all devices": "/api/sensors/quality",
    "messages of a topic": "/api/mqtt/history?topic=panel/a/volt",
    "a page of soil far back": f"/api/soil-health/history?offset={HEAVY_ROWS}",
}
LIGHT = {
    "health": "/api/health",
    "a page": f"/api/sensors/history?limit={HEAVY_ROWS}",
    "some samples": f"/api/sensors/ml-data?limit={HEAVY_ROWS}",
    "the clock of a device": "/api/sensors/clocks?device_id=a",
    "a page of soil": "/api/soil-health/history",
}


@pytest.fixture
def api(settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An app that answers one heavy question at a time, and lets nobody wait."""
    monkeypatch.setattr(services.heavy, "MAX_WAITING", 0)
    with running(settings(heavy_requests=1)) as started:
        yield started


def turns(api: Api) -> Turns:
    found: Turns = api.app.extensions["heavy"]
    return found


@pytest.mark.database
def test_every_endpoint_that_takes_a_turn_is_asked_here(api: Api) -> None:
    answers = handlers(api.app)
    asked = {answers[path.split("?")[0]] for path in HEAVY.values()}
    assert {code for code in answers.values() if "take_turn" in code.co_names} == asked


@pytest.mark.database
@pytest.mark.parametrize("path", HEAVY.values(), ids=HEAVY)
def test_a_heavy_question_is_told_to_try_again_while_others_are_answered(
    api: Api, path: str
) -> None:
    turns(api).take()
    response = api.client.get(path)
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert "HEAVY_REQUESTS" in response.get_json()["message"]
    turns(api).give_back()
    for _ in range(3):
        api.get(path)


@pytest.mark.database
@pytest.mark.parametrize("path", LIGHT.values(), ids=LIGHT)
def test_other_questions_are_answered_all_the_same(api: Api, path: str) -> None:
    turns(api).take()
    api.get(path)


@pytest.mark.database
@pytest.mark.parametrize(
    "path", ["/api/sensors/stats?from=never", "/api/sensors/stats?device_id=%2B", "/api/x/stats"]
)
def test_a_question_that_cannot_be_answered_keeps_no_turn(api: Api, path: str) -> None:
    for _ in range(3):
        assert api.client.get(path).status_code in (400, 404)
    api.get("/api/sensors/stats")


@pytest.mark.database
def test_a_question_that_fails_keeps_no_turn(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("queries.statistics.stats", _fail)
        for _ in range(3):
            assert api.client.get("/api/sensors/stats").status_code == 500
    api.get("/api/sensors/stats")


def _fail(*_: Any) -> None:
    raise RuntimeError("a fault")


def test_it_runs_as_many_at_a_time_as_there_are_turns_and_all_in_the_end() -> None:
    places, lock, most, now = Turns(3), threading.Lock(), 0, 0

    def ask(_: int) -> None:
        nonlocal most, now
        places.take()
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)  # a question takes its time
        with lock:
            now -= 1
        places.give_back()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(40)))
    assert most == 3


def test_who_waits_in_vain_is_told_so_after_its_time() -> None:
    places = Turns(1, wait_seconds=0.05)
    places.take()
    began = time.monotonic()
    with pytest.raises(Busy, match="Try again, or request less"):
        places.take()
    assert 0.05 <= time.monotonic() - began < 5


def test_no_more_wait_than_there_are_threads_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.heavy, "MAX_WAITING", 2)
    places = Turns(1, wait_seconds=10)
    places.take()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(places.take) for _ in range(2)]
        while places._waiting._value:
            time.sleep(0.01)  # both are about to wait
        with pytest.raises(Busy):
            places.take()
        places.give_back()
        places.give_back()
        for asked in waiting:
            asked.result(5)


def test_the_setting_says_how_many(settings: Callable[..., Settings]) -> None:
    app = create_app(settings(heavy_requests=7))
    assert app.extensions["heavy"]._most == 7
    app.extensions["autoforge"].database.close()
