"""Last wills of the static publisher: what subscribers hear when it is killed, and when it ends well."""

import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.connections import established
from tests.publishing import NEVER, Program, Run, Subscriber, Way, entry, hanging, none_left_out
from tests.support import Mosquitto, free_port, publishing, wait_for
from utils.json_types import JsonObject

pytestmark = pytest.mark.process

MANY = 200


def kinds(prefix: str) -> list[JsonObject]:
    """Entries with a will of every QoS, retained and not, and one without a will."""
    each = [{"qos": qos, "retain": retain} for qos in range(3) for retain in (True, False)]
    wills = [
        entry(f"{number}", f"{prefix}/{kind['qos']}/{kind['retain']}", lwt=True, **kind)
        for number, kind in enumerate(each)
    ]
    return [one | {"interval": NEVER} for one in (*wills, entry("plain", f"{prefix}/plain"))]


def many(prefix: str) -> list[JsonObject]:
    each = map(str, range(MANY))
    return [entry(number, f"{prefix}/{number}", lwt=True, interval=0.5) for number in each]


def offline(heard: Subscriber) -> list[str]:
    """The topics on which the publisher said offline, as often as it did."""
    return sorted(came.topic for came in heard.arrivals if came.offline)


def on_or_off(heard: Subscriber) -> set[int]:
    """What the topics said last."""
    last = {came.topic: came for came in list(heard.arrivals)}
    return {came.document["online"] for came in last.values()}


def wait_for_all(heard: Subscriber, count: int) -> None:
    """Wait until so many entries are online."""
    wait_for(lambda: len({came.topic for came in list(heard.arrivals)}) == count)


def wait_for_the_ends(broker: Mosquitto) -> None:
    """Wait until the broker has only the subscriber's connection."""
    wait_for(lambda: established(broker.port) == 1, what="the broker to see the connections end")


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_kill_brings_each_will_as_configured(run: Run, broker: Mosquitto, protocol: str) -> None:
    prefix = f"killed/{protocol}"
    entries = kinds(prefix)
    with run(f"{prefix}/#", entries, MQTT_PROTOCOL=protocol) as (heard, program):
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
    run: Run, tmp_path: Path, broker: Mosquitto, number: signal.Signals
) -> None:
    prefix = f"ended/{number.name}"
    entries = kinds(prefix)
    with run(f"{prefix}/#", entries) as (heard, program):
        heard.wait("#", len(entries))
        assert program.stop_seconds(number) < 2
        heard.wait("#", 2 * len(entries) - 1)
        wait_for_the_ends(broker)
        # What a broker has to say for a connection that ended it says before this.
        (other := tmp_path / "other").mkdir()
        with Program(other, broker.port, [entry("last", f"{prefix}/last", interval=NEVER)]):
            heard.wait(f"{prefix}/last")
        assert offline(heard) == sorted(one["topic"] for one in entries[:-1])
        for one in entries[:-1]:
            said = heard.of(one["topic"])[-1]
            assert (said.qos, said.retain) == (one["qos"], one["retain"])
            assert said.document == {"online": 0, **one["data"]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_two_hundred_wills_are_said(run: Run, number: signal.Signals) -> None:
    entries = many(f"many/{number.name}")
    with run(f"many/{number.name}/#", entries) as (heard, program):
        wait_for_all(heard, MANY)
        sent = time.monotonic()
        program.stop(number)
        assert time.monotonic() - sent < 2
        wait_for(lambda: len(offline(heard)) >= MANY, what="all to be offline")
        assert offline(heard) == sorted(one["topic"] for one in entries)


def test_it_ends_within_two_seconds_while_it_connects(tmp_path: Path, broker: Mosquitto) -> None:
    def more_than(connections: int) -> bool:
        return established(broker.port) > connections

    with Subscriber(broker.port, "early/#") as heard:
        for connected in (0, 2, 20, 100):
            with Program(tmp_path, broker.port, many("early")) as program:
                wait_for(partial(more_than, connected), what="connections")
                assert program.stop_seconds() < 2
            wait_for_the_ends(broker)
            wait_for(lambda: on_or_off(heard) <= {0}, what="whoever was online to be offline")


@pytest.mark.parametrize("hangs", [False, True], ids=["is gone", "hangs"])
def test_it_ends_within_two_seconds_when_the_broker(
    alone: Run, mosquitto: Mosquitto, hangs: bool
) -> None:
    with alone("#", many("hangs")) as (heard, program):
        wait_for_all(heard, MANY)
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
                (line,) = program.wait_line("WARNING")
                assert line.removesuffix("\x1b[0m").endswith(": Connection refused")
            assert program.stop_seconds() < 2
            assert program.counts("b")["published"] == 0


def test_a_second_signal_while_it_ends_changes_nothing(alone: Run, mosquitto: Mosquitto) -> None:
    with alone("#", kinds("twice")) as (heard, program):
        heard.wait("#", 7)
        with hanging(mosquitto):
            sent = program.send(signal.SIGINT)
            time.sleep(0.3)  # it waits for the broker now
            assert program.stop(signal.SIGINT) == 0
            assert time.monotonic() - sent < 2


def test_a_connection_that_breaks_alone_brings_its_will_and_comes_back(
    run: Run, broker: Mosquitto
) -> None:
    entries = [entry(name, f"alone/{name}", lwt=True, interval=0.2) for name in "abc"]
    with Way(broker.port) as way, run("alone/#", entries, way=way.port) as (heard, program):
        wait_for_all(heard, 3)
        way.cut(b"alone/b")
        will = heard.wait_said("alone/b", {"online": 0, "of": "b"})
        back = heard.wait_said("alone/b", {"online": 1, "of": "b"}, will.time)
        assert back.time - will.time < 2
        heard.wait_more("alone/b", 2)
        assert offline(heard) == ["alone/b"]
        assert none_left_out(heard.of("alone/a"), 0.2)
        assert none_left_out(heard.of("alone/c"), 0.2)
        program.stop()
        # What was due while it was away.
        assert program.counts("b")["missed"] + program.counts("b")["failed"] >= 3
        assert program.counts("a")["missed"] == 0


def test_a_change_that_is_taken_back_at_once_never_says_offline(run: Run) -> None:
    first, second, third = [
        entry("a", "back/a", lwt=True, interval=NEVER, data={"of": of}) for of in "abc"
    ]
    plain = entry("plain", "back/plain")
    with run("back/#", [first, plain]) as (heard, program):
        heard.wait("back/a")
        for one in 20 * (second, first):
            # Each is read before the connection of the one before is open.
            seen = len(program.lines("2 configurations"))
            program.reload([one, plain])
            program.wait_line("2 configurations", seen)
        program.reload([third])
        heard.wait_said("back/a", {"online": 1, "of": "c"})
        assert offline(heard) == []


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize(
    "change", [{}, {"data": {"of": "b"}}, {"id": "b"}], ids=["none", "data", "id"]
)
def test_the_will_of_a_connection_that_the_broker_thinks_alive_is_not_the_last_word(
    run: Run, broker: Mosquitto, change: JsonObject, protocol: str
) -> None:
    """The broker hears that the cable broke when the entry has long said that it is online."""
    topic = f"cable/{protocol}/{'/'.join(change)}"
    one = entry("a", topic, lwt=True, interval=NEVER)
    with (
        Way(broker.port) as way,
        run("cable/#", [one], way=way.port, MQTT_PROTOCOL=protocol) as (heard, program),
        publishing(broker.port) as publish,
    ):
        heard.wait(topic)
        way.forget(topic.encode())
        program.reload([one | change])
        heard.wait_since(0.0, topic, 2, {"online": 1})
        way.remember()
        publish("cable/marker", "{}")
        heard.wait("cable/marker")
        wait_for(lambda: heard.documents(topic)[-1]["online"], what="it to be online")


def test_more_wills_than_connections_allowed_are_told(tmp_path: Path, broker: Mosquitto) -> None:
    program = Program(tmp_path, broker.port, [*many("files"), entry("plain", "files/plain")])
    program.open_files = 150
    with Subscriber(broker.port, "files/plain") as heard, program:
        assert program.lines("needs 251 open files, and this machine allows 150; the rest waits")
        program.wait_line("Too many open files")
        heard.wait_more("files/plain", 5)
        assert program.stop_seconds() < 2
