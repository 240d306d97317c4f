"""The static publisher while the broker is away: what it counts, when it comes back, and what it does not send then."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from broker.dialer import JITTER, Dialler
from broker.loop import Loop
from tests.connections import established
from tests.publishing import Program, Subscriber, Way, entry, hanging
from tests.support import Mosquitto, free_port, wait_for

AWAY = 0.4
"""Seconds; shorter than the first pause between attempts."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_it_comes_back_by_itself_and_sends_nothing_of_what_fell_due(
    tmp_path: Path, mosquitto: Mosquitto, number: int
) -> None:
    entries = [
        entry("plain"), entry("twice", qos=2), entry("once", qos=0), entry("will", lwt=True, retain=True),
    ]  # fmt: skip
    with Subscriber(mosquitto.port) as heard, Program(tmp_path, mosquitto.port, entries) as program:
        heard.wait("t/will", 5)
        mosquitto.stop(number)
        time.sleep(AWAY)
        back = time.monotonic()
        mosquitto.start()
        assert heard.wait_said("t/will", {"online": 1, "of": "will"}, back).time - back < 2.5
        for one in entries:
            heard.wait_since(back, one["topic"], 5)
        program.stop()
        for name in ("plain", "twice", "once"):
            came = heard.of(f"t/{name}")
            steps = [round((arrival.time - came[0].time) / 0.1) for arrival in came]
            assert len(set(steps)) == len(steps), f"{name} was sent twice at one time"
            counts = program.counts(name)
            # Each of its times was published or missed; the last one may have come just before the end.
            assert counts["published"] + counts["missed"] in (steps[-1] + 1, steps[-1] + 2)
            assert counts["missed"] >= AWAY / 0.1
            # Of those on their way some were lost, and one may have been delivered to the subscriber again.
            assert -1 <= counts["published"] - len(came) <= 2
        will = program.counts("will")
        assert will["missed"] >= AWAY / 0.1
        assert will["published"] == will["acknowledged"] + will["failed"]


def test_it_waits_for_a_broker_that_comes_later(tmp_path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    with Program(tmp_path, mosquitto.port, [entry("plain"), entry("will", lwt=True)]) as program:
        wait_for(lambda: program.lines("Connection refused"), what="the warning")
        status = program.wait_status(lambda status: status["statistics"]["total_missed"])
        assert (status["running"], status["connected"], status["problem"]) == (True, False, "Connection refused")
        mosquitto.start()
        with Subscriber(mosquitto.port) as heard:
            heard.wait("t/plain", 3)
            heard.wait("t/will", 3)
            status = program.wait_status(lambda status: status["connected"])
            assert (status["problem"], status["connections"]) == (None, {"open": 2, "needed": 2})
            assert [len(program.lines(part)) for part in ("Connection refused", "Connected to the broker")] == [1, 1]


def test_what_falls_due_before_the_broker_ever_answered_is_missed_by_all(tmp_path: Path) -> None:
    entries = [entry(str(number), lwt=number % 2 == 0) for number in range(20)]
    with Program(tmp_path, free_port(), entries) as program:
        wait_for(lambda: program.lines("Connection refused"), what="the warning")
        assert program.stop() == 0
        missed = [program.counts(one["id"])["missed"] for one in entries]
        # All of them, though only one was dialled; those without a will begin at a time within the first interval.
        assert max(missed) - 2 <= min(missed)
        assert min(missed) >= 1


def test_two_hundred_wills_come_back(tmp_path: Path, mosquitto: Mosquitto) -> None:
    # At QoS 0, because a broker that comes back delivers again what was not acknowledged to it.
    entries = [entry(str(number), f"many/{number}", lwt=True, interval=1000.0, qos=0) for number in range(200)]
    with Subscriber(mosquitto.port) as heard, Program(tmp_path, mosquitto.port, entries) as program:
        heard.wait("#", 200)
        mosquitto.stop()
        back = time.monotonic()
        mosquitto.start()
        online = heard.wait_since(back, "#", 200, {"online": 1})
        assert online[-1].time - back < 4
        assert sorted({came.topic for came in online}) == sorted(one["topic"] for one in entries)
        assert program.stop_seconds() < 2


def test_where_files_are_short_those_without_a_will_come_back_all_the_same(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    wills = [entry(str(number), f"many/{number}", lwt=True, interval=1000.0, qos=0) for number in range(100)]
    program = Program(tmp_path, mosquitto.port, [*wills, entry("plain", qos=0)])
    program.open_files = 80
    with Subscriber(mosquitto.port, "t/#") as heard, program:
        for _ in range(3):
            heard.wait_more("t/plain", 3)
            wait_for(lambda: established(mosquitto.port) > 40, what="as many wills as there may be")
            mosquitto.stop()
            mosquitto.start()
        heard.wait_more("t/plain", 3)
        assert not program.lines("ends the connection whenever"), "none was to blame"


def test_what_changed_meanwhile_is_what_it_publishes_afterwards(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Subscriber(mosquitto.port) as heard, Program(tmp_path, mosquitto.port, [
        entry("changes", lwt=True), entry("goes", lwt=True), entry("plain"),
    ]) as program:  # fmt: skip
        heard.wait("t/plain", 3)
        mosquitto.stop()
        program.write([
            entry("changes", lwt=True, data={"now": "new"}), entry("comes", lwt=True), entry("plain", data={"now": 1}),
        ])  # fmt: skip
        program.send(signal.SIGHUP)
        wait_for(lambda: program.lines("3 configurations"), what="the new file")
        back = time.monotonic()
        mosquitto.start()
        heard.wait("t/comes", 2)
        new = heard.wait_said("t/changes", {"online": 1, "now": "new"}, back)
        heard.wait_said("t/plain", {"now": 1}, back)
        heard.wait_more("t/changes", 3)
        # What says offline is the broker, which hears of it when it ends and tells it when it is back.
        # What came before the end is delivered to the subscriber again, before anything new.
        online = [came for came in heard.of("#", new.time) if came.document.get("online") != 0]
        assert {came.document["now"] for came in online if came.topic == "t/changes"} == {"new"}
        assert "t/goes" not in {came.topic for came in online}


def test_a_broker_that_acknowledges_nothing_gets_a_thousand_messages_and_no_more(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with (
        Subscriber(mosquitto.port) as heard,
        Program(tmp_path, mosquitto.port, [entry("a", interval=0.001)]) as program,
    ):
        heard.wait("t/a", 100)
        before = program.wait_status(lambda status: status["connected"])["statistics"]["total_missed"]
        with hanging(mosquitto):
            hung = program.wait_status(lambda told: told["statistics"]["total_missed"] > before + 1000)["statistics"]
            assert hung["total_published"] - hung["total_acknowledged"] == 1000
        heard.wait("t/a", len(heard.arrivals) + 1100)
        program.stop()
        counts = program.counts("a")
        assert counts["published"] == counts["acknowledged"] == len(heard.arrivals)
        assert counts["failed"] == 0


def test_a_broker_that_acknowledges_nothing_gets_16_mb_of_those_that_share_and_64_kb_of_each_other_one(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    large = [entry(f"shared {number}", data={"text": 950_000 * "x"}, interval=0.05) for number in range(5)]
    wills = [entry(f"will {number}", data={"text": 65_000 * "x"}, interval=0.05, lwt=True) for number in range(5)]
    with Program(tmp_path, mosquitto.port, large + wills) as program:
        program.wait_status(lambda status: status["statistics"]["total_acknowledged"])
        with hanging(mosquitto):
            hung = program.wait_status(lambda status: status["statistics"]["total_missed"] > 200)
            open_ones = {row["id"]: row["published"] - row["acknowledged"] for row in hung["configs"]}
            assert sum(open_ones[one["id"]] for one in large) == pytest.approx(17, abs=1)
            assert [open_ones[one["id"]] for one in wills] == 5 * [2]
        published = hung["statistics"]["total_published"]
        program.wait_status(lambda status: status["statistics"]["total_acknowledged"] > published)


def test_who_is_changed_while_the_broker_is_away_misses_what_falls_due(tmp_path: Path, mosquitto: Mosquitto) -> None:
    entries = [entry("plain"), entry("will", lwt=True)]
    with Subscriber(mosquitto.port) as heard, Program(tmp_path, mosquitto.port, entries) as program:
        heard.wait("t/will", 3)
        mosquitto.stop()
        wait_for(lambda: program.lines("The broker "), what="the warning")
        program.write([one | {"data": {"now": "new"}} for one in entries])
        program.send(signal.SIGHUP)
        wait_for(lambda: len(program.lines("2 configurations")) == 2, what="the new file")
        changed = time.monotonic()
        time.sleep(1)
        mosquitto.start()
        plain = heard.wait_said("t/plain", {"now": "new"})
        will = heard.wait_said("t/will", {"online": 1, "now": "new"})
        program.stop()
        assert program.counts("plain")["missed"] >= (plain.time - changed) / 0.1 - 2
        assert program.counts("will")["missed"] >= (will.time - changed) / 0.1 - 2


def test_a_connection_that_breaks_again_and_again_sends_nothing_twice(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [entry(str(qos), f"often/{qos}", qos=qos, interval=0.01) for qos in (1, 2)]
    with (
        Way(broker.port) as way,
        Subscriber(broker.port, "often/#") as heard,
        Program(tmp_path, way.port, entries) as program,
    ):
        for _ in range(3):
            heard.wait_more("often/2", 20)
            way.cut(b"MQTT")
        heard.wait_more("often/2", 20)
        program.stop()
        for qos in "12":
            counts, came = program.counts(qos), len(heard.of(f"often/{qos}"))
            assert counts["published"] == counts["acknowledged"] + counts["failed"]
            assert counts["acknowledged"] <= came <= counts["published"]
            assert counts["missed"] > 100


@pytest.fixture
def unreachable() -> Iterator[int]:
    """A port whose address does not answer at all: its queue is full, so the kernel drops what comes."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = int(server.getsockname()[1])
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(("127.0.0.1", port))
        wait_for(lambda: established(port), what="the queue to be full")
        yield port


def test_counts_are_kept_where_an_address_does_not_answer(
    tmp_path: Path, mosquitto: Mosquitto, unreachable: int
) -> None:
    with Subscriber(mosquitto.port) as heard, Program(tmp_path, mosquitto.port, [entry("a")]) as program:
        heard.wait("t/a", 3)
        program.stop()
        published = program.counts("a")["published"]
        with Program(tmp_path, unreachable, [entry("a")]) as later:
            later.wait_status(lambda status: status["running"])
            assert later.stop_seconds() < 2
            assert later.counts("a")["published"] == published


# Pauses between attempts


class Refused:
    """What is refused whenever it is dialled, and when that was."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def dial(self) -> None:
        self.times.append(time.monotonic())
        raise ConnectionRefusedError(111, "Connection refused")

    def give_up(self, fault: str) -> None:
        """It never is: every attempt is answered."""


class Accepted(Refused):
    """What is accepted when it is dialled."""

    def dial(self) -> None:
        self.times.append(time.monotonic())


def test_those_that_were_refused_are_dialled_after_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.dialer.FIRST_DELAY", 0.02)
    monkeypatch.setattr("broker.dialer.LONGEST_DELAY", 0.04)
    loop = Loop()
    dialler = Dialler(loop)
    refused = [Refused() for _ in range(10)]
    for one in refused:
        dialler.want(one)
    while not refused[-1].times:
        loop.turn(0.1)
    dialler.want(new := Accepted())
    while not new.times:
        loop.turn(0.1)
    loop.close()
    assert sum(len(one.times) for one in refused) == 10


class Ended(Refused):
    """What is accepted whenever it is dialled, and ended at once."""

    def __init__(self, loop: Loop, dialler: Dialler) -> None:
        super().__init__()
        self._loop = loop
        self._dialler = dialler
        self.gone = False

    def dial(self) -> None:
        self.times.append(time.monotonic())
        self._loop.call_in(0, self._end)

    def _end(self) -> None:
        if not self.gone:
            self._dialler.connected(self)
            self._dialler.failed(self, "the connection was lost")


def test_pauses_of_one_that_is_accepted_and_soon_ended_double_whatever_becomes_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.dialer.FIRST_DELAY", 0.04)
    monkeypatch.setattr("broker.dialer.LONGEST_DELAY", 0.16)
    loop = Loop()
    dialler = Dialler(loop)
    both = [Ended(loop, dialler) for _ in range(2)]
    for one in both:
        dialler.want(one)
    while not all(len(one.times) >= 6 for one in both):
        loop.turn(0.1)
    both[0].gone = True
    dialler.forget(both[0])
    seen = len(both[0].times)
    while len(both[1].times) < 8:
        loop.turn(0.1)
    loop.close()
    assert len(both[0].times) == seen
    for one in both:
        pauses = [later - earlier for earlier, later in pairwise(one.times)]
        assert all(pause >= low * (1 - JITTER) for pause, low in zip(pauses, (0.04, 0.08, 0.16, 0.16), strict=False))


def test_pauses_between_attempts_double_up_to_a_limit_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.dialer.FIRST_DELAY", 0.04)
    monkeypatch.setattr("broker.dialer.LONGEST_DELAY", 0.16)
    loop = Loop()
    refused = [Refused() for _ in range(20)]
    diallers = [Dialler(loop) for _ in refused]
    for dialler, one in zip(diallers, refused, strict=True):
        dialler.want(one)
    while not all(len(one.times) >= 6 for one in refused):
        loop.turn(0.1)
    loop.close()
    pauses = [[later - earlier for earlier, later in pairwise(one.times)] for one in refused]
    for number, longest in enumerate((0.04, 0.08, 0.16, 0.16, 0.16)):
        found = sorted(pause[number] for pause in pauses)
        assert found[0] >= longest * (1 - JITTER)
        assert found[len(found) // 2] <= longest * 1.2
        assert found[-1] - found[0] >= longest * JITTER / 4, "all come back in the same moment"
    assert {dialler.fault for dialler in diallers} == {"Connection refused"}
