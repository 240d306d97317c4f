"""An entry for which the broker ends the connection: who is found to blame, and that others are disturbed no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.publisher.suspects import ANSWER_SECONDS, Suspects
from tests.publishing import Program, Subscriber, entry
from tests.support import Mosquitto, wait_for


def connection(suspects: Suspects[str], *names: str, start: float = 0.0, confirmed_later: bool = True) -> list[str]:
    """Publish these on a connection, which then ends; who is to blame."""
    for name in names:
        suspects.published(name, start, confirmed_later=confirmed_later)
    return suspects.connection_ended(start + 0.1)


def test_who_was_published_at_the_end_of_two_connections_in_a_row_is_to_blame() -> None:
    suspects: Suspects[str] = Suspects()
    assert connection(suspects, "before", "guilty") == []
    assert connection(suspects, "guilty", "after") == ["guilty"]


def test_who_was_confirmed_in_between_is_not() -> None:
    suspects: Suspects[str] = Suspects()
    connection(suspects, "a", "b")
    suspects.published("a", 1, confirmed_later=True)
    suspects.clear("a")
    assert connection(suspects, "a", "b", start=2) == ["b"]
    assert connection(suspects, "a", start=3) == []


def test_who_was_confirmed_once_on_a_connection_is_none_of_its_suspects() -> None:
    suspects: Suspects[str] = Suspects()
    for _ in range(3):
        suspects.published("a", 0, confirmed_later=True)
        suspects.clear("a")
        assert connection(suspects, "a", start=1) == []


def test_a_connection_that_ended_while_it_was_not_published_clears_nobody() -> None:
    suspects: Suspects[str] = Suspects()
    found = [connection(suspects, *names) for names in (["a"], ["b"], ["a"], ["b"])]
    assert found == [[], [], ["a"], ["b"]]


def test_of_many_those_are_to_blame_that_were_there_most_often() -> None:
    suspects: Suspects[str] = Suspects()
    connection(suspects, "a", "b", "guilty")
    assert connection(suspects, "a", "b", "guilty") == ["a", "b", "guilty"]
    assert connection(suspects, "b", "guilty") == ["b", "guilty"]
    assert connection(suspects, "a", "guilty") == ["guilty"]


def test_what_is_never_confirmed_is_cleared_by_time() -> None:
    suspects: Suspects[str] = Suspects()
    for number in range(3):
        start = 10 * number
        suspects.published("early", start, confirmed_later=False)
        suspects.published("early", start + 1.5 * ANSWER_SECONDS, confirmed_later=False)
        suspects.published("alone", start, confirmed_later=False)
        suspects.published("guilty", start + 1.9 * ANSWER_SECONDS, confirmed_later=False)
        found = suspects.connection_ended(start + 2 * ANSWER_SECONDS)
    assert found == ["guilty"]


def test_who_is_forgotten_begins_anew() -> None:
    suspects: Suspects[str] = Suspects()
    connection(suspects, "a")
    suspects.forget("a")
    assert connection(suspects, "a") == []


Part = dict[str, Any]
LIMITS: dict[str, tuple[str, Part]] = {
    "too large": ("max_packet_size 5000", {"data": {"text": 9000 * "x"}}),
    "retained": ("retain_available false", {"retain": True}),
}


@pytest.fixture(params=LIMITS)
def limited(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Mosquitto, Part]]:
    """A broker that does not take everything, and what of an entry it does not take."""
    extra, guilt = LIMITS[request.param]
    server = Mosquitto(tmp_path / "limited", extra)
    server.start()
    yield server, guilt
    server.stop()


@pytest.mark.parametrize(("qos", "protocol"), [(1, "3.1.1"), (0, "5")])
def test_an_entry_that_the_broker_does_not_take_disturbs_the_others_no_more(
    tmp_path: Path, limited: tuple[Mosquitto, Part], qos: int, protocol: str
) -> None:
    server, guilt = limited
    entries = [*(entry(name, qos=qos) for name in "abcde"), entry("guilty", qos=qos, interval=0.3, **guilt)]
    with (
        Subscriber(server.port) as heard,
        Program(tmp_path, server.port, entries, MQTT_PROTOCOL=protocol) as program,
    ):
        found = wait_for(lambda: program.lines("From now on each has a connection of its own"), 20, "the line")
        assert '"guilty"' in found[0]
        heard.wait_more("t/a")
        came = heard.wait_more("t/a", 31)
        assert came[30].time - came[0].time == pytest.approx(3.0, abs=0.1)
        status = program.wait_status(lambda status: [row["connected"] for row in status["configs"][:-1]] == 5 * [True])
        assert status["connections"]["needed"] > 1
        program.write([*entries[:-1], entry("guilty", qos=qos)])
        heard.wait("t/guilty", 3)
        program.wait_status(lambda status: status["connected"])
        assert program.stop_seconds() < 2
