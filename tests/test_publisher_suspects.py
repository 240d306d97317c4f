"""An entry for which the broker ends the connection: who is found to blame, and that others are disturbed no more."""

import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from publisher.service import PublisherService
from publisher.suspects import ANSWER_SECONDS, BLAMED_ENDS, Suspects, Trial
from tests.publishing import Document, Listener, Program, Subscriber, entry
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


def test_who_ends_its_own_connection_twice_while_another_stays_is_to_blame() -> None:
    trial = Trial()
    for start, blamed in ((0, False), (10, True), (20, False)):
        trial.published(start)
        trial.ended(start + 1)
        assert trial.reopened(other_since=-5) is blamed, "and that is said once"


@pytest.mark.parametrize("other_since", [None, 11.5], ids=["is closed", "ended too"])
def test_who_loses_its_own_connection_when_the_other_one_does_is_not(other_since: float | None) -> None:
    trial = Trial(BLAMED_ENDS - 1)
    trial.published(10)
    trial.ended(11)
    assert not trial.reopened(other_since)


def test_who_was_carried_in_between_by_its_own_connection_is_not() -> None:
    trial = Trial()
    for start in (0, 10, 20):
        trial.published(start)
        trial.ended(start + 1)
        assert not trial.reopened(other_since=-5)
        trial.published(start + 2)
        assert trial.carried()
        assert not trial.carried()
        trial.ended(start + 3)


def test_what_its_own_connection_has_not_ended_for_in_time_was_taken() -> None:
    trial = Trial()
    assert not trial.unanswered(10)
    trial.published(0)
    trial.published(ANSWER_SECONDS)
    assert not trial.unanswered(0.9 * ANSWER_SECONDS)
    assert trial.unanswered(1.1 * ANSWER_SECONDS)


Part = dict[str, Any]
LARGE = {"text": 9000 * "x"}


@contextlib.contextmanager
def limited(folder: Path, limit: str) -> Iterator[Mosquitto]:
    """A broker that does not take everything."""
    server = Mosquitto(folder / "limited", limit)
    server.start()
    try:
        yield server
    finally:
        server.stop()


Start = Callable[..., PublisherService]


@pytest.fixture
def start(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Start]:
    """Starts a service that publishes entries at the broker of a port."""
    file = tmp_path / "entries.json"
    made: list[PublisherService] = []

    def make(port: int, entries: list[Document], **values: Any) -> PublisherService:
        file.write_text(json.dumps(entries))
        made.append(PublisherService(settings(mqtt_broker="127.0.0.1", mqtt_port=port, **values), file))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def guilty(told: pytest.LogCaptureFixture) -> list[str]:
    """Who is named in the log, as often as it is."""
    parts = [message.split('"') for message in told.messages if "The broker ends the connection whenever" in message]
    return [part[1] for part in parts]


@pytest.mark.parametrize(
    ("limit", "guilt", "qos", "protocol"),
    [
        pytest.param("max_packet_size 5000", {"data": LARGE}, 1, "3.1.1", id="too large"),
        pytest.param("retain_available false", {"retain": True}, 0, "5", id="retained"),
    ],
)
def test_an_entry_that_the_broker_does_not_take_disturbs_the_others_no_more(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture, limit: str, guilt: Part, qos: int, protocol: str
) -> None:
    good = [entry(name, qos=qos) for name in "abcde"]
    entries = [*good, entry("guilty", qos=qos, interval=0.3, **guilt)]
    with limited(tmp_path, limit) as server, Subscriber(server.port) as heard:
        service = start(server.port, entries, mqtt_protocol=protocol)
        wait_for(lambda: guilty(caplog), what="the line")
        # Others that were suspected return when a connection of their own has carried them.
        wait_for(lambda: service.get_status()["connections"]["needed"] == 2, what="the others to return")
        heard.wait_more("t/a")
        came = heard.wait_more("t/a", 31)
        assert came[30].time - came[0].time == pytest.approx(3.0, abs=0.1)
        assert [row["connected"] for row in service.get_status()["configs"][:-1]] == 5 * [True]
        assert guilty(caplog) == ["guilty"]
        service.path.write_text(json.dumps([*good, entry("guilty", qos=qos)]))
        heard.wait("t/guilty", 3)
        wait_for(lambda: service.get_status()["connections"] == {"open": 1, "needed": 1}, what="one connection")


@pytest.mark.parametrize("qos", [0, 1])
def test_it_is_found_among_hundreds(tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture, qos: int) -> None:
    large = entry("guilty", qos=qos, interval=1.0, data=LARGE)
    entries = [*(entry(str(number), qos=qos, interval=1.0) for number in range(300)), large]
    with limited(tmp_path, "max_packet_size 5000") as server, Subscriber(server.port) as heard:
        service = start(server.port, entries)
        wait_for(lambda: guilty(caplog), 30, "the line")
        wait_for(lambda: service.get_status()["connections"]["needed"] == 2, 30, "the others to return")
        before = len(heard.arrivals)
        heard.wait("#", before + 5 * 300)
        came = Counter(arrival.topic for arrival in heard.arrivals[before : before + 5 * 300])
        assert len(came) == 300
        assert set(came.values()) <= {4, 5, 6}
        assert guilty(caplog) == ["guilty"]


def test_where_the_broker_allows_no_further_connection_the_others_come_back_to_the_shared_one(
    tmp_path: Path, start: Start
) -> None:
    limits = "max_packet_size 5000\nclientid_prefixes auto-\nauto_id_prefix auto-"
    entries = [*(entry(name, qos=0) for name in "abc"), entry("guilty", qos=0, interval=2.0, data=LARGE)]
    with limited(tmp_path, limits) as server, Subscriber(server.port) as heard:
        service = start(server.port, entries)
        wait_for(lambda: service.get_status()["connections"]["needed"] > 1, what="suspects to be moved apart")
        for name in "abc":
            heard.wait_more(f"t/{name}", 2, 20)


CONNACK = bytes([0x20, 2, 0, 0])


class Kicker(Listener):
    """Something that accepts MQTT connections and ends each at the first message, as brokers do that forbid a topic."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[float] = []

    def serve(self, opened: socket.socket) -> None:
        """Accept, and end it at what comes next."""
        with opened, contextlib.suppress(OSError):
            opened.recv(4096)
            opened.sendall(CONNACK)
            self.accepted.append(time.monotonic())
            opened.recv(4096)


def test_wills_that_are_accepted_and_then_ended_are_named_and_come_back_less_and_less_often(tmp_path: Path) -> None:
    entries = [entry(name, lwt=True) for name in "ab"]
    with Kicker() as kicker, Program(tmp_path, kicker.port, entries) as program:
        for name in "ab":
            wait_for(partial(program.lines, f'whenever "{name}" is published on t/{name}'), what="the line")
        began = kicker.accepted[0]
        wait_for(lambda: time.monotonic() > began + 5, what="five seconds")
        # The shared one stays; each of the others comes at about 0, 1, 3 and 7 s.
        assert 5 <= sum(moment < began + 5 for moment in kicker.accepted) <= 9
        assert program.stop_seconds() < 2
