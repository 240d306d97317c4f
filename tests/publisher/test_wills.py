"""Last wills of the static publisher: what subscribers hear when it is killed, and when it ends well."""

import itertools
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.connections import established
from tests.publishing import Program, Subscriber, Way, entry, hanging
from tests.support import Mosquitto, free_port, publishing, wait_for
from utils.json_types import JsonObject

pytestmark = pytest.mark.process

MANY = 200
NEVER = 1000.0
"""An interval that does not end in a test."""


def kinds(prefix: str) -> list[JsonObject]:
    """Entries with a will of every QoS, retained and not, and one without a will."""
    wills = [
        entry(
            f"{qos}{retain}",
            f"{prefix}/{qos}/{retain}",
            qos=qos,
            retain=retain,
            lwt=True,
            interval=NEVER,
        )
        for qos, retain in itertools.product((0, 1, 2), (True, False))
    ]
    return [*wills, entry("plain", f"{prefix}/plain", interval=NEVER)]


def offline(heard: Subscriber) -> list[str]:
    """The topics on which the publisher said offline, as often as it did."""
    return sorted(came.topic for came in heard.arrivals if came.document.get("online") == 0)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_kill_brings_each_will_as_its_entry_is_configured(
    tmp_path: Path, broker: Mosquitto, protocol: str
) -> None:
    prefix = f"killed/{protocol}"
    entries = kinds(prefix)
    with (
        Subscriber(broker.port, f"{prefix}/#") as heard,
        Program(tmp_path, broker.port, entries, MQTT_PROTOCOL=protocol) as program,
    ):
        heard.wait("#", len(entries))
        assert offline(heard) == []
        program.stop(signal.SIGKILL)
        heard.wait("#", 2 * len(entries) - 1)
        for one in entries[:-1]:
            online, will = heard.of(one["topic"])
            assert online.document == {"online": 1, **one["data"]}
            assert will.document == {"online": 0, **one["data"]}
            assert (will.qos, will.retain) == (one["qos"], one["retain"])
        assert len(heard.of(f"{prefix}/plain")) == 1
        with Subscriber(broker.port, f"{prefix}/#") as later:
            later.wait("#", 3)
            assert offline(later) == [f"{prefix}/{qos}/True" for qos in range(3)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_who_ends_it_hears_offline_once_and_within_two_seconds(
    tmp_path: Path, broker: Mosquitto, number: signal.Signals
) -> None:
    prefix = f"ended/{number.name}"
    entries = kinds(prefix)
    with (
        Subscriber(broker.port, f"{prefix}/#") as heard,
        Program(tmp_path, broker.port, entries) as program,
    ):
        heard.wait("#", len(entries))
        assert program.stop_seconds(number) < 2
        heard.wait("#", 2 * len(entries) - 1)
        wait_for(
            lambda: established(broker.port) == 1, what="the broker to see the connections end"
        )
        # What a broker has to say for a connection that ended it says before this.
        (other := tmp_path / "other").mkdir()
        with Program(other, broker.port, [entry("last", f"{prefix}/last", interval=NEVER)]):
            heard.wait(f"{prefix}/last")
        assert offline(heard) == sorted(one["topic"] for one in entries[:-1])
        for one in entries[:-1]:
            said = heard.of(one["topic"])[-1]
            assert (said.qos, said.retain) == (one["qos"], one["retain"])
            assert said.document == {"online": 0, **one["data"]}


def many(prefix: str) -> list[JsonObject]:
    return [
        entry(str(number), f"{prefix}/{number}", lwt=True, interval=0.5) for number in range(MANY)
    ]


def all_online(heard: Subscriber) -> None:
    wait_for(
        lambda: len({came.topic for came in list(heard.arrivals)}) == MANY, what="all to be online"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_two_hundred_wills_are_said(
    tmp_path: Path, broker: Mosquitto, number: signal.Signals
) -> None:
    prefix = f"many/{number.name}"
    with (
        Subscriber(broker.port, f"{prefix}/#") as heard,
        Program(tmp_path, broker.port, many(prefix)) as program,
    ):
        all_online(heard)
        sent = time.monotonic()
        program.stop(number)
        assert time.monotonic() - sent < 2
        wait_for(lambda: len(offline(heard)) >= MANY, what="all to be offline")
        assert offline(heard) == sorted(f"{prefix}/{number}" for number in range(MANY))


def test_it_ends_within_two_seconds_while_it_is_still_connecting(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with Subscriber(broker.port, "early/#") as heard:
        for connected in (0, 2, 20, 100):
            with Program(tmp_path, broker.port, many("early")) as program:
                wait_for(partial(more_than, connected, broker.port), what="connections")
                assert program.stop_seconds() < 2
            wait_for(
                lambda: established(broker.port) == 1, what="the broker to see the connections end"
            )
            wait_for(lambda: on_or_off(heard) <= {0}, what="whoever was online to be offline")


def more_than(connections: int, port: int) -> bool:
    return established(port) > connections


def on_or_off(heard: Subscriber) -> set[int]:
    """What the topics said last."""
    return {
        came.document["online"]
        for came in {came.topic: came for came in list(heard.arrivals)}.values()
    }


@pytest.mark.parametrize("hangs", [False, True], ids=["is gone", "hangs"])
def test_it_ends_within_two_seconds_when_the_broker(
    tmp_path: Path, mosquitto: Mosquitto, hangs: bool
) -> None:
    with (
        Subscriber(mosquitto.port) as heard,
        Program(tmp_path, mosquitto.port, many("hangs")) as program,
    ):
        all_online(heard)
        if not hangs:
            mosquitto.stop()
            assert program.stop_seconds() < 2
            return
        with hanging(mosquitto):
            time.sleep(0.6)  # until each entry was due again: the broker acknowledges none of it
            assert program.stop_seconds() < 2
        # The broker says offline itself.
        wait_for(lambda: len(set(offline(heard))) == MANY, what="all to be offline")
        wait_for(lambda: on_or_off(heard) == {0}, what="nobody to be online")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@pytest.mark.broker
@pytest.mark.parametrize("options", [(), ("--tls",)], ids=["plain", "TLS"])
def test_it_ends_within_two_seconds_when_the_broker_never_answered_or_never_was(
    tmp_path: Path, silent: int, options: tuple[str, ...]
) -> None:
    for port in (silent, free_port()):
        (folder := tmp_path / str(port)).mkdir()
        with Program(folder, port, [entry("a", lwt=True), entry("b")], *options) as program:
            if port == silent:
                wait_for(lambda: established(silent), what="a connection")
            else:
                wait_for(partial(program.lines, "WARNING"), what="the warning")
                (line,) = program.lines("WARNING")
                assert line.removesuffix("\x1b[0m").endswith(": Connection refused")
            assert program.stop_seconds() < 2
            assert program.counts("b")["published"] == 0


def test_a_second_signal_while_it_ends_changes_nothing(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with (
        Subscriber(mosquitto.port) as heard,
        Program(tmp_path, mosquitto.port, kinds("twice")) as program,
    ):
        heard.wait("#", 7)
        with hanging(mosquitto):
            sent = program.send(signal.SIGINT)
            time.sleep(0.3)  # it waits for the broker now
            assert program.stop(signal.SIGINT) == 0
            assert time.monotonic() - sent < 2


def test_a_connection_that_breaks_alone_brings_its_will_and_comes_back(
    tmp_path: Path, broker: Mosquitto
) -> None:
    entries = [entry(name, f"alone/{name}", lwt=True, interval=0.2) for name in "abc"]
    with (
        Way(broker.port) as way,
        Subscriber(broker.port, "alone/#") as heard,
        Program(tmp_path, way.port, entries) as program,
    ):
        wait_for(
            lambda: len({came.topic for came in list(heard.arrivals)}) == 3, what="all to be online"
        )
        way.cut(b"alone/b")
        will = heard.wait_said("alone/b", {"online": 0, "of": "b"})
        back = heard.wait_said("alone/b", {"online": 1, "of": "b"}, will.time)
        assert back.time - will.time < 2
        heard.wait_more("alone/b", 2)
        assert offline(heard) == ["alone/b"]
        for topic in ("alone/a", "alone/c"):
            came = heard.of(topic)
            assert [round((one.time - came[0].time) / 0.2) for one in came] == list(
                range(len(came))
            )
        program.stop()
        # What was due while it was away.
        assert program.counts("b")["missed"] + program.counts("b")["failed"] >= 3
        assert program.counts("a")["missed"] == 0


def test_a_change_that_is_taken_back_at_once_never_says_offline(
    tmp_path: Path, broker: Mosquitto
) -> None:
    before = [entry("a", "back/a", lwt=True, interval=NEVER), entry("plain", "back/plain")]
    between = [entry("a", "back/a", lwt=True, interval=NEVER, data={"of": "b"}), before[1]]
    with (
        Subscriber(broker.port, "back/#") as heard,
        Program(tmp_path, broker.port, before) as program,
    ):
        heard.wait("back/a")
        for _ in range(20):
            # Each is read before the connection of the one before is open.
            for entries in (between, before):
                seen = len(program.lines("2 configurations"))
                program.write(entries)
                program.send(signal.SIGHUP)
                program.wait_more("2 configurations", seen)
        program.write([entry("a", "back/a", lwt=True, interval=NEVER, data={"of": "c"})])
        program.send(signal.SIGHUP)
        heard.wait_said("back/a", {"online": 1, "of": "c"})
        assert offline(heard) == []


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize(
    "change", [{}, {"data": {"of": "b"}}, {"id": "b"}], ids=["none", "data", "id"]
)
def test_the_will_of_a_connection_that_the_broker_thinks_alive_is_not_the_last_word(
    tmp_path: Path, broker: Mosquitto, change: JsonObject, protocol: str
) -> None:
    """The broker hears that the cable broke when the entry has long said that it is online."""
    topic = f"cable/{protocol}/{'/'.join(change)}"
    one = entry("a", topic, lwt=True, interval=NEVER)
    with (
        Way(broker.port) as way,
        Subscriber(broker.port, "cable/#") as heard,
        Program(tmp_path, way.port, [one], MQTT_PROTOCOL=protocol) as program,
        publishing(broker.port) as publish,
    ):
        heard.wait(topic)
        way.forget(topic.encode())
        program.write([one | change])
        program.send(signal.SIGHUP)
        heard.wait_since(0.0, topic, 2, {"online": 1})
        way.remember()
        publish("cable/marker", "{}")
        heard.wait("cable/marker")
        wait_for(lambda: heard.documents(topic)[-1]["online"], what="it to be online")


def test_more_wills_than_the_machine_allows_connections_are_told(
    tmp_path: Path, broker: Mosquitto
) -> None:
    program = Program(tmp_path, broker.port, [*many("files"), entry("plain", "files/plain")])
    program.open_files = 150
    with Subscriber(broker.port, "files/plain") as heard, program:
        assert program.lines("needs 251 open files, and this machine allows 150; the rest waits")
        wait_for(lambda: program.lines("Too many open files"), what="the warning")
        heard.wait_more("files/plain", 5)
        assert program.stop_seconds() < 2
