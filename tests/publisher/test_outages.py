"""The static publisher while the broker is away: what it counts, and what it sends when the broker is back."""

import signal
import socket
import time

import pytest

from tests.proxies import Way
from tests.publishing import NEVER, Log, PublisherSite, entry, hanging
from tests.support import wait_for
from utils.json_types import JsonObject

pytestmark = pytest.mark.long

AWAY = 0.4
"""Seconds; shorter than the first pause between attempts."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_it_comes_back_and_does_not_send_what_fell_due_meanwhile(
    site: PublisherSite, number: int
) -> None:
    entries = [entry("plain"), entry("twice", qos=2), entry("once", qos=0)]
    entries += [entry("will", lwt=True, retain=True)]
    publisher = site.service(entries)
    site.heard.wait("t/will", 5)
    site.broker.stop(number)
    time.sleep(AWAY)
    back = time.monotonic()
    site.broker.start()
    assert site.heard.wait_said("t/will", {"online": 1, "of": "will"}, back).time - back < 2.5
    for one in entries:
        site.heard.wait(one["topic"], 5, back)
    publisher.stop()
    for name in ("plain", "twice", "once"):
        came = [arrival.time for arrival in site.heard.of(f"t/{name}")]
        after = [time for time in came if time > back]
        due = (after[-1] - after[0]) / 0.1 + 1
        assert len(after) <= due + 1, f"{name} was sent for times that had passed"
        counts = publisher.counts(name)
        # Each due time was published or missed; the first or the last may have come late.
        times = (came[-1] - came[0]) / 0.1 + 1
        assert counts["published"] + counts["missed"] == pytest.approx(times, abs=2)
        assert counts["missed"] >= AWAY / 0.1
        # Some that were in flight were lost; the subscriber may have received one of them twice.
        assert -1 <= counts["published"] - len(came) <= 2
    will = publisher.counts("will")
    assert will["missed"] >= AWAY / 0.1
    assert will["published"] == will["acknowledged"] + will["failed"]


def test_400_entries_wait_for_a_broker_and_miss_what_falls_due(
    site: PublisherSite, caplog: Log
) -> None:
    caplog.set_level("INFO")
    site.broker.stop()
    entries = [entry(str(number), lwt=number % 2 == 0) for number in range(400)]
    publisher = site.service(entries)
    status = publisher.wait_status(lambda status: all(row["missed"] for row in status["configs"]))
    assert (status["running"], status["connected"]) == (True, False)
    assert status["problem"] == "Connection refused"
    # All of them, though only one was dialled; those without a will begin within an interval.
    missed = [row["missed"] for row in status["configs"]]
    assert max(missed) - 2 <= min(missed)
    site.broker.start()
    back = time.monotonic()
    status = publisher.wait_connected()
    assert time.monotonic() - back < 4
    assert (status["problem"], status["connections"]) == (None, {"open": 201, "needed": 201})
    for one in entries:
        site.heard.wait(one["topic"])
    wait_for(lambda: "Connected to the broker" in caplog.text)
    site.heard.wait_more("t/1", 3)
    for told in ("Connection refused", "Connected to the broker"):
        assert len([text for text in caplog.messages if told in text]) == 1


def test_each_of_many_entries_comes_back_once(site: PublisherSite) -> None:
    # At QoS 0, because a broker that is back delivers again what was not acknowledged to it.
    entries = [entry(str(number), lwt=True, interval=NEVER, qos=0) for number in range(50)]
    publisher = site.service(entries)
    site.heard.wait("#", 50)
    site.broker.stop()
    back = time.monotonic()
    site.broker.start()
    wait_for(lambda: len(site.heard.of_schedule(since=back)) >= 50, what="all of them")
    assert time.monotonic() - back < 4
    assert publisher.stop_seconds() < 2
    online = sorted(came.topic for came in site.heard.of_schedule(since=back))
    assert online == sorted(one["topic"] for one in entries)


def test_what_changed_meanwhile_is_published_afterwards(site: PublisherSite) -> None:
    publisher = site.service([entry("changes", lwt=True), entry("goes", lwt=True), entry("plain")])
    site.heard.wait("t/plain", 3)
    site.broker.stop()
    after = [entry("changes", lwt=True, data={"now": "new"}), entry("plain", data={"now": 1})]
    publisher.reload([*after, entry("comes", lwt=True)])
    changed = time.monotonic()
    publisher.wait_status(lambda _: publisher.counts("changes")["missed"] > 5)
    back = time.monotonic()
    site.broker.start()
    site.heard.wait("t/comes", 2)
    new = site.heard.wait_said("t/changes", {"online": 1, "now": "new"}, back)
    plain = site.heard.wait_said("t/plain", {"now": 1}, back)
    site.heard.wait_more("t/changes", 3)
    # The wills come from the broker, which publishes them when it ends and delivers them when it
    # is back. What came before its end is delivered to the subscriber again, before anything new.
    online = site.heard.of_schedule(since=new.time)
    assert {came.document["now"] for came in online if came.topic == "t/changes"} == {"new"}
    assert "t/goes" not in {came.topic for came in online}
    publisher.stop()
    # What fell due meanwhile is missed by the changed entries too.
    assert publisher.counts("plain")["missed"] >= (plain.time - changed) / 0.1 - 2
    assert publisher.counts("changes")["missed"] >= (new.time - changed) / 0.1 - 2


def test_a_broker_that_acknowledges_nothing_gets_at_most_a_thousand_messages(
    site: PublisherSite,
) -> None:
    publisher = site.service([entry("a", interval=0.001)])
    site.heard.wait("t/a", 100)
    before = publisher.counts("a")["missed"]
    with hanging(site.broker):
        publisher.wait_status(lambda _: publisher.counts("a")["missed"] > before + 1000)
        hung = publisher.counts("a")
        assert hung["published"] - hung["acknowledged"] == 1000
    site.heard.wait("t/a", len(site.heard.arrivals) + 1100)
    publisher.stop()
    counts = publisher.counts("a")
    assert counts["published"] == counts["acknowledged"] == len(site.heard.arrivals)
    assert counts["failed"] == 0


def test_a_broker_that_acknowledges_nothing_gets_16_mb_and_64_kb_for_each_will(
    site: PublisherSite,
) -> None:
    def entries(name: str, size: int, lwt: bool) -> list[JsonObject]:
        names, data = [f"{name} {number}" for number in range(5)], {"text": size * "x"}
        return [entry(one, data=data, interval=0.05, lwt=lwt) for one in names]

    large, wills = entries("shared", 950_000, lwt=False), entries("will", 65_000, lwt=True)
    publisher = site.service(large + wills)
    publisher.wait_connected()
    with hanging(site.broker):
        # Each fell due many times since then.
        hung = publisher.wait_status(
            lambda status: all(row["missed"] > 10 for row in status["configs"])
        )["configs"]
        in_flight = {row["id"]: row["published"] - row["acknowledged"] for row in hung}
        assert sum(in_flight[one["id"]] for one in large) == pytest.approx(17, abs=1)
        assert [in_flight[one["id"]] for one in wills] == 5 * [2]
    published = sum(row["published"] for row in hung)
    publisher.wait_status(lambda status: status["statistics"]["total_acknowledged"] > published)


def test_a_connection_that_breaks_again_and_again_sends_nothing_twice(site: PublisherSite) -> None:
    entries = [entry(str(qos), qos=qos, interval=0.01) for qos in (1, 2)]
    with Way(site.broker.port) as way:
        publisher = site.service(entries, port=way.port)
        for _ in range(2):
            site.heard.wait_more("t/2", 20)
            way.cut(b"MQTT")
        site.heard.wait_more("t/2", 20)
        publisher.stop()
    for qos in "12":
        counts, came = publisher.counts(qos), len(site.heard.of(f"t/{qos}"))
        assert counts["published"] == counts["acknowledged"] + counts["failed"]
        assert counts["acknowledged"] <= came <= counts["published"]
        assert counts["missed"] > 100


def test_counts_are_kept_where_an_address_does_not_answer(site: PublisherSite) -> None:
    publisher = site.service([entry("a")])
    site.heard.wait("t/a", 3)
    publisher.stop()
    published = publisher.published()
    # With one connection the queue of the server is full: the kernel drops the packets of others.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            later = site.service([entry("a")], port=address[1])
            assert later.stop_seconds() < 2
    assert later.counts("a")["published"] == published > 0
