"""Last wills of the static publisher: what subscribers receive when it is killed, stopped or disconnected."""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.connections import established
from tests.proxies import Way
from tests.publishing import NEVER, Program, PublisherSite, RecordingSubscriber, Run, entry, hanging
from tests.scripted_broker import CONNACK, CONNECT, PUBLISH, Peer, ScriptedBroker, scripted_broker
from tests.support import Mosquitto, free_port, publishing, wait_for
from utils.json_types import JsonObject

MANY = 200


def kinds(prefix: str, times: int = 1) -> list[JsonObject]:
    """So many entries with a will of each QoS, retained and not, and one without a will."""
    each = [{"qos": qos, "retain": retain} for qos in range(3) for retain in (True, False)]
    wills = [
        entry(f"{number}", f"{prefix}/{number}", lwt=True, **kind)
        for number, kind in enumerate(times * each)
    ]
    return [one | {"interval": NEVER} for one in (*wills, entry("plain", f"{prefix}/plain"))]


def many() -> list[JsonObject]:
    return [entry(str(number), lwt=True, interval=0.5) for number in range(MANY)]


def offline(heard: RecordingSubscriber) -> list[str]:
    """The topics of all messages that say offline."""
    return sorted(came.topic for came in heard.arrivals if came.offline)


def on_or_off(heard: RecordingSubscriber) -> set[int]:
    """What the last message of each topic says."""
    last = {came.topic: came for came in list(heard.arrivals)}
    return {came.document["online"] for came in last.values()}


def wait_for_all(heard: RecordingSubscriber, count: int) -> None:
    """Wait until so many entries are online."""
    wait_for(lambda: len({came.topic for came in list(heard.arrivals)}) == count)


@pytest.mark.process
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_kill_brings_each_will_as_configured(run: Run, broker: Mosquitto, protocol: str) -> None:
    prefix = f"killed/{protocol}"
    entries = kinds(prefix, 33)
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
        with RecordingSubscriber(broker.port, f"{prefix}/#") as later:
            later.wait("#", 99)
            retained = [one["topic"] for one in entries if one.get("retain")]
            assert offline(later) == sorted(retained)


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_it_within_two_seconds_and_each_will_arrives_once(
    run: Run, broker: Mosquitto, number: signal.Signals
) -> None:
    prefix = f"ended/{number.name}"
    entries = kinds(prefix)
    with run(f"{prefix}/#", entries) as (heard, program), publishing(broker.port) as publish:
        heard.wait("#", len(entries))
        assert program.stop_seconds(number) < 2
        heard.wait("#", 2 * len(entries) - 1)
        wait_for(lambda: established(broker.port) == 2, what="the connections to end")
        # A broker that publishes a will of a connection that has ended does so before this.
        publish(f"{prefix}/last", "{}")
        heard.wait(f"{prefix}/last")
        assert offline(heard) == sorted(one["topic"] for one in entries[:-1])
        for one in entries[:-1]:
            said = heard.of(one["topic"])[-1]
            assert (said.qos, said.retain) == (one["qos"], one["retain"])
            assert said.document == {"online": 0, **one["data"]}


def test_it_stops_within_two_seconds_while_it_connects(site: PublisherSite) -> None:
    def more_than(connections: int) -> bool:
        return established(site.broker.port) > connections

    for connected in (1, 3, 20, 100):
        publisher = site.service(many())
        wait_for(partial(more_than, connected), what="connections")
        assert publisher.stop_seconds() < 2
        wait_for(lambda: established(site.broker.port) == 1, what="the connections to end")
        wait_for(lambda: on_or_off(site.heard) <= {0}, what="none to be online")


@pytest.mark.parametrize("broker", ["answers", "is gone", "hangs"])
def test_it_publishes_200_wills_in_two_seconds_when_the_broker(
    site: PublisherSite, broker: str
) -> None:
    entries = many()
    publisher = site.service(entries)
    wait_for_all(site.heard, MANY)
    if broker == "is gone":
        site.broker.stop()
        assert publisher.stop_seconds() < 2
    elif broker == "answers":
        assert publisher.stop_seconds() < 2
        wait_for(lambda: len(offline(site.heard)) >= MANY, what="all to be offline")
        assert offline(site.heard) == sorted(one["topic"] for one in entries)
    else:
        with hanging(site.broker):
            before = publisher.published()
            # Each entry is due again, and the broker acknowledges none of them.
            publisher.wait_status(lambda _: publisher.published() >= before + MANY)
            assert publisher.stop_seconds() < 2
        # The broker publishes the wills itself.
        wait_for(lambda: len(set(offline(site.heard))) == MANY, what="all to be offline")
        wait_for(lambda: on_or_off(site.heard) == {0}, what="none to be online")


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize("options", [(), ("--tls",)], ids=["plain", "TLS"])
def test_it_ends_within_two_seconds_when_the_broker_does_not_answer_or_does_not_exist(
    tmp_path: Path, silent: int, options: tuple[str, ...]
) -> None:
    entries = [entry("a", lwt=True), entry("b")]
    with Program(tmp_path, silent, entries, *options) as program:
        wait_for(lambda: established(silent), what="a connection")
        assert program.stop_seconds() < 2
    with Program(tmp_path, free_port(), entries, *options) as program:
        program.wait_line(": Connection refused")
        assert program.stop_seconds() < 2
        assert program.published() == 0


@pytest.mark.process
def test_a_second_signal_changes_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Program(tmp_path, mosquitto.port, kinds("twice")) as program:
        program.wait_connected()
        with hanging(mosquitto):
            sent = program.send(signal.SIGINT)
            time.sleep(0.3)  # it waits for the broker now
            assert program.stop(signal.SIGINT) == 0
            assert time.monotonic() - sent < 2


@pytest.fixture
def way(mosquitto: Mosquitto) -> Iterator[Way]:
    """A proxy of the broker."""
    with Way(mosquitto.port) as made:
        yield made


def test_a_broken_connection_brings_its_will_and_is_opened_again(
    site: PublisherSite, way: Way
) -> None:
    publisher = site.service([entry(of, lwt=True, interval=0.2) for of in "abc"], port=way.port)
    wait_for_all(site.heard, 3)
    way.cut(b"t/b")
    will = site.heard.wait_said("t/b", {"online": 0, "of": "b"})
    back = site.heard.wait_said("t/b", {"online": 1, "of": "b"}, will.time)
    assert back.time - will.time < 2
    site.heard.wait_more("t/b", 2)
    assert offline(site.heard) == ["t/b"]
    assert site.heard.none_left_out("t/a", 0.2)
    assert site.heard.none_left_out("t/c", 0.2)
    publisher.stop()
    # What fell due while it was away.
    assert publisher.counts("b")["missed"] + publisher.counts("b")["failed"] >= 3
    assert publisher.counts("a")["missed"] == 0


def test_after_quick_changes_of_data_the_only_will_is_the_last_one(
    way: Way, site: PublisherSite
) -> None:
    heard = site.heard
    first, second, third = [entry("a", lwt=True, interval=NEVER, data={"of": of}) for of in "abc"]
    publisher = site.service([first, entry("plain")], port=way.port)
    heard.wait("t/a")
    for one in [*20 * (second, first), third]:
        # Each is applied before the connection of the one before is open.
        publisher.reload([one, entry("plain")])
    heard.wait_said("t/a", {"online": 1, "of": "c"})
    assert offline(heard) == []
    way.cut(b"t/a")
    heard.wait_said("t/a", {"online": 0, "of": "c"})
    assert offline(heard) == ["t/a"]


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize(
    "change", [{}, {"data": {"of": "b"}}, {"id": "b"}], ids=["none", "data", "id"]
)
def test_the_will_of_a_connection_that_the_broker_thinks_alive_is_not_the_last_message(
    site: PublisherSite, way: Way, change: JsonObject, protocol: str
) -> None:
    """The broker notices the broken cable long after the entry has connected again."""
    one = entry("a", "t/cable", lwt=True, interval=NEVER)
    publisher = site.service([one], port=way.port, mqtt_protocol=protocol)
    site.heard.wait("t/cable")
    way.forget(b"t/cable")
    publisher.reload([one | change])
    wait_for(lambda: len(site.heard.of_schedule("t/cable")) == 2, what="the entry to be back")
    way.remember()
    publisher.reload([one | change, entry("marker")])
    site.heard.wait("t/marker")
    wait_for(lambda: site.heard.documents("t/cable")[-1]["online"], what="it to be online")


def next_with_will(broker: ScriptedBroker) -> tuple[str, Peer]:
    """The client id of the next connection with a will, and the connection."""
    while True:
        peer = broker.accept()
        connect = peer.expect(CONNECT).body
        if connect[7] & 4:
            return connect[12 : 12 + connect[11]].decode(), peer


def test_a_lost_connection_is_followed_by_one_with_its_client_id_even_if_the_entry_changes(
    site: PublisherSite,
) -> None:
    """Only such a client ends the session that the broker thinks alive."""
    one = entry("a", "t/cable", lwt=True, interval=NEVER)
    with scripted_broker() as broker:
        publisher = site.service([one], port=broker.port, mqtt_protocol="3.1.1")
        client_id, peer = next_with_will(broker)
        peer.send(CONNACK, b"\0\0")
        peer.expect(PUBLISH)
        peer.close()
        assert next_with_will(broker)[0] == client_id
        # It is not answered.
        for of in "bc":
            publisher.reload([one | {"data": {"of": of}}])
            assert next_with_will(broker)[0] == client_id


@pytest.mark.process
def test_more_wills_than_open_files_are_an_error(tmp_path: Path, broker: Mosquitto) -> None:
    program = Program(tmp_path, broker.port, [*many(), entry("plain", "files/plain")])
    program.command[:0] = ["/bin/sh", "-c", 'ulimit -n 150; exec "$@"', "sh"]
    with RecordingSubscriber(broker.port, "files/plain") as heard, program:
        assert program.lines("needs 251 open files, and this machine allows 150; the rest waits")
        program.wait_line("Too many open files")
        heard.wait_more("files/plain", 5)
        assert program.stop_seconds() < 2
