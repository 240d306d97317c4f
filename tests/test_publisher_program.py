"""The program of the static publisher: what arrives, when, and what a change of the file does."""

import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from publisher.__main__ import main
from tests.malformed import malformed
from tests.publishing import Arrival, Program, Subscriber, entry, statistics_of
from tests.support import Mosquitto, free_port, wait_for
from utils.log_lines import BURST

DOCUMENTED = b"""[
  {
    "id": "unique_config_id",
    "topic": "mqtt/topic/name",
    "data": {
      "sensor_id": "SENSOR_001",
      "temperature": 25.5,
      "humidity": 60
    },
    "interval": 30,
    "qos": 1,
    "retain": false,
    "lwt": true,
    "created_at": "2025-09-29T16:27:50.000000",
    "updated_at": "2025-09-29T16:27:50.000000",
    "version": 1
  }
]
"""
NEVER = 1000.0
"""An interval that does not end in a test."""


def numbers(arrivals: list[Arrival], interval: float) -> list[int]:
    """At which of its times each message came, if the first one came at its own."""
    return [round((arrival.time - arrivals[0].time) / interval) for arrival in arrivals]


def off_grid(arrivals: list[Arrival], interval: float) -> float:
    """How many seconds the middle one of the messages is from its time, if the first one came at its own."""
    steps = numbers(arrivals, interval)
    off = [abs(came.time - arrivals[0].time - step * interval) for came, step in zip(arrivals, steps, strict=True)]
    return sorted(off)[len(off) // 2]


# What arrives


def test_the_documented_file_says_online_with_its_data(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "mqtt/#") as heard, Program(tmp_path, broker.port, DOCUMENTED) as program:
        (first,) = heard.wait("mqtt/topic/name")
        assert first.payload == b'{"online":1,"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
        assert (first.qos, first.retain) == (1, False)
        assert program.stop() == 0
        heard.wait("mqtt/topic/name", 2)
        assert [said["online"] for said in heard.documents("mqtt/topic/name")] == [1, 0]


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_qos_and_retain_arrive_as_they_are_configured(tmp_path: Path, broker: Mosquitto, protocol: str) -> None:
    kinds = {
        f"{protocol}/{qos}{'/retained' * retain}{'/will' * lwt}": {"qos": qos, "retain": retain, "lwt": lwt}
        for qos, retain, lwt in itertools.product((0, 1, 2), (False, True), (False, True))
    }
    entries = [entry(str(n), topic, interval=NEVER, **kind) for n, (topic, kind) in enumerate(kinds.items())]
    with (
        Subscriber(broker.port, f"{protocol}/#") as heard,
        Program(tmp_path, broker.port, entries, MQTT_PROTOCOL=protocol),
    ):
        heard.wait("#", len(kinds))
        assert {
            came.topic: {"qos": came.qos, "retain": came.retain, "lwt": "online" in came.document}
            for came in heard.arrivals
        } == kinds
        with Subscriber(broker.port, f"{protocol}/#") as later:
            later.wait("#", 6)
            assert {came.topic for came in later.arrivals} == {topic for topic in kinds if "retained" in topic}


def test_without_lwt_the_data_are_published_as_they_are(tmp_path: Path, broker: Mosquitto) -> None:
    data = {"online": "ja", "ä": [1, 2.50, None, {"b": True}], "n": 9007199254740993}
    with Subscriber(broker.port, "plain") as heard, Program(tmp_path, broker.port, [entry("a", "plain", data=data)]):
        assert heard.wait("plain")[0].payload.decode() == (
            '{"online":"ja","ä":[1,2.5,null,{"b":true}],"n":9007199254740993}'
        )


def test_two_entries_may_share_a_topic(tmp_path: Path, broker: Mosquitto) -> None:
    both = [entry("a", "shared", lwt=True, interval=NEVER), entry("b", "shared", interval=NEVER)]
    with Subscriber(broker.port, "shared") as heard, Program(tmp_path, broker.port, both):
        heard.wait("shared", 2)
        assert sorted(said["of"] for said in heard.documents("shared")) == ["a", "b"]


def test_an_empty_file_publishes_nothing_and_is_connected(tmp_path: Path, broker: Mosquitto) -> None:
    with Program(tmp_path, broker.port, []) as program:
        status = program.wait_status(lambda status: status["connected"])
        assert (status["active_configs"], status["connections"]) == (0, {"open": 1, "needed": 1})
        assert program.stop() == 0


def test_a_bad_entry_is_told_in_a_line_and_does_not_stop_the_others(tmp_path: Path, broker: Mosquitto) -> None:
    mixed = [entry("a", "one/bad", interval="fast"), entry("b", "one/good")]
    with Subscriber(broker.port, "one/#") as heard, Program(tmp_path, broker.port, mixed) as program:
        heard.wait("one/good", 2)
        assert not heard.of("one/bad")
        (line,) = program.lines("entry 0")
        assert 'entry 0 (id "a"): interval = "fast": must be a number of seconds from 0.001 to 31536000' in line


# When it arrives


def test_intervals_are_kept_without_drift(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [entry("a", "kept/a"), entry("b", "kept/b", interval=0.25), entry("c", "kept/c", lwt=True, interval=0.05)]
    with Subscriber(broker.port, "kept/#") as heard, Program(tmp_path, broker.port, entries):
        heard.wait("kept/a", 51)
        for topic, interval in (("kept/a", 0.1), ("kept/b", 0.25), ("kept/c", 0.05)):
            came = heard.of(topic)
            assert numbers(came, interval) == list(range(len(came))), topic
            assert off_grid(came, interval) < interval / 5, topic
            # No drift: the last ten are not later than the first ten.
            late = [arrival.time - number * interval for number, arrival in enumerate(came)]
            assert min(late[-10:]) - min(late[:10]) == pytest.approx(0, abs=0.01), topic


def test_a_pause_brings_no_burst_and_leaves_the_times_as_they_were(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [entry("a", "pause/a"), entry("b", "pause/b", lwt=True)]
    with Subscriber(broker.port, "pause/#") as heard, Program(tmp_path, broker.port, entries) as program:
        heard.wait("pause/b", 5)
        program.send(signal.SIGSTOP)
        time.sleep(1.5)
        awake = program.send(signal.SIGCONT)
        heard.wait_more("pause/a", 12)
        program.stop()
        for name in ("a", "b"):
            came = [arrival for arrival in heard.of(f"pause/{name}") if arrival.document.get("online") != 0]
            # One at once for what fell due meanwhile, then each at its time.
            assert len([arrival for arrival in came if awake - 0.05 <= arrival.time < awake + 0.08]) <= 2
            steps = numbers(came, 0.1)
            assert len(steps) == len(set(steps))
            assert off_grid(came, 0.1) < 0.03
            assert program.counts(name)["missed"] == pytest.approx(14, abs=2)
            assert program.counts(name)["missed"] == steps[-1] + 1 - len(came)


def test_fractions_of_a_second_are_intervals_too(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "fast") as heard, Program(tmp_path, broker.port, [entry("a", "fast", interval=0.004)]):
        came = heard.wait("fast", 251)[:251]
        assert came[-1].time - came[0].time == pytest.approx(1.0, abs=0.1)


# What a change of the file does


@pytest.mark.parametrize("in_place", [True, False])
def test_a_changed_file_is_taken_up_within_two_seconds(tmp_path: Path, broker: Mosquitto, in_place: bool) -> None:
    topic = f"changed/{in_place}"
    with Subscriber(broker.port, topic) as heard, Program(tmp_path, broker.port, [entry("a", topic)]) as program:
        heard.wait(topic)
        changed = time.monotonic()
        new = [entry("a", topic, data={"now": "new"})]
        if in_place:
            program.file.write_text(json.dumps(new))
        else:
            program.write(new)
        assert heard.wait_said(topic, {"now": "new"}).time - changed < 2


def test_sighup_reads_the_file_again(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "hup") as heard, Program(tmp_path, broker.port, [entry("a", "hup")]) as program:
        heard.wait("hup")
        program.write([entry("a", "hup", data={"now": "new"})])
        sent = program.send(signal.SIGHUP)
        assert heard.wait_said("hup", {"now": "new"}).time - sent < 2
        for _ in range(300):
            program.send(signal.SIGHUP)
        assert program.stop_seconds() < 2


def test_who_did_not_change_keeps_its_times_and_its_connection(tmp_path: Path, broker: Mosquitto) -> None:
    stays = [entry("a", "stays/a", interval=0.2), entry("b", "stays/b", interval=0.2, lwt=True)]
    with Subscriber(broker.port, "stays/#") as heard, Program(tmp_path, broker.port, stays) as program:
        heard.wait("stays/b", 3)
        # The times and the version of an entry are not what is published.
        later = [one | {"version": 2, "updated_at": "2026-01-01T00:00:00"} for one in stays]
        program.write([entry("c", "stays/c"), *reversed(later)])
        heard.wait("stays/c", 5)
        for topic in ("stays/a", "stays/b"):
            came = heard.of(topic)
            assert numbers(came, 0.2) == list(range(len(came))), topic
            assert off_grid(came, 0.2) < 0.04
        assert {said["online"] for said in heard.documents("stays/b")} == {1}


def test_a_changed_payload_of_an_entry_with_a_will_comes_without_an_offline(tmp_path: Path, broker: Mosquitto) -> None:
    with (
        Subscriber(broker.port, "again") as heard,
        Program(tmp_path, broker.port, [entry("a", "again", lwt=True)]) as program,
    ):
        heard.wait("again", 2)
        for number in range(3):
            program.write([entry("a", "again", lwt=True, data={"n": number})])
            program.send(signal.SIGHUP)
            heard.wait_said("again", {"online": 1, "n": number})
        assert {said["online"] for said in heard.documents("again")} == {1}
        program.send(signal.SIGKILL)
        # The will is the changed one, and nothing has stayed of those before it.
        heard.wait_said("again", {"online": 0, "n": 2})
        assert [said for said in heard.documents("again") if said["online"] == 0] == [{"online": 0, "n": 2}]


def test_who_is_removed_says_offline_and_who_is_new_begins(tmp_path: Path, broker: Mosquitto) -> None:
    old = entry("old", "swap/old", lwt=True, retain=True)
    with Subscriber(broker.port, "swap/#") as heard, Program(tmp_path, broker.port, [old]) as program:
        heard.wait("swap/old")
        program.write([entry("new", "swap/new")])
        wait_for(lambda: heard.of("swap/old")[-1].payload == b"", what="the retained message to be cleared")
        heard.wait("swap/new", 3)
        *_, offline, cleared = heard.of("swap/old")
        assert (offline.document, offline.retain) == ({"online": 0, "of": "old"}, True)
        assert (cleared.payload, cleared.retain) == (b"", True)
        program.stop()
        assert program.status()["statistics"]["total_published"] == len(heard.arrivals) - 2


def test_who_moves_to_another_topic_says_offline_on_the_old_one(tmp_path: Path, broker: Mosquitto) -> None:
    moves = entry("a", "move/old", lwt=True)
    with Subscriber(broker.port, "move/#") as heard, Program(tmp_path, broker.port, [moves]) as program:
        heard.wait("move/old")
        program.write([moves | {"topic": "move/new"}])
        heard.wait_said("move/old", {"online": 0, "of": "a"})
        assert heard.wait("move/new")[0].document == {"online": 1, "of": "a"}


def test_lwt_can_be_switched_on_and_off(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "switch") as heard, Program(tmp_path, broker.port, [entry("a", "switch")]) as program:
        heard.wait_said("switch", {"of": "a"})
        program.write([entry("a", "switch", lwt=True)])
        heard.wait_said("switch", {"online": 1, "of": "a"})
        changed = time.monotonic()
        program.write([entry("a", "switch")])
        heard.wait_said("switch", {"online": 0, "of": "a"})
        heard.wait_said("switch", {"of": "a"}, changed)


def test_a_broken_file_changes_nothing_until_it_is_mended(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "broken") as heard, Program(tmp_path, broker.port, [entry("a", "broken")]) as program:
        heard.wait("broken", 2)
        program.write(b'[{"id": "a",\n "topic"]')
        wait_for(lambda: program.lines("last good configuration"), what="the line")
        came = heard.wait_more("broken", 12)
        assert numbers(came, 0.1) == list(range(len(came)))
        (line,) = program.lines("last good configuration")
        assert "entries.json: line 2, column 9: not JSON" in line
        program.write([entry("a", "broken", data={"now": "mended"})])
        heard.wait_said("broken", {"now": "mended"})


def test_a_file_that_is_gone_changes_nothing_until_it_is_back(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "gone") as heard, Program(tmp_path, broker.port, [entry("a", "gone")]) as program:
        heard.wait("gone")
        program.file.unlink()
        wait_for(lambda: program.lines("there is no such file"), what="the line")
        heard.wait_more("gone", 3)
        program.write([entry("a", "gone", data={"now": "back"})])
        heard.wait_said("gone", {"now": "back"})
        assert len(program.lines("there is no such file")) == 1


def test_of_many_changes_in_quick_succession_the_last_one_holds(tmp_path: Path, broker: Mosquitto) -> None:
    def entries(number: int) -> list[dict[str, object]]:
        return [
            entry("will", f"quick/will{number % 2}", lwt=True, data={"n": number}),
            entry("plain", "quick/plain", data={"n": number}),
        ]

    with Subscriber(broker.port, "quick/#") as heard, Program(tmp_path, broker.port, entries(0)) as program:
        heard.wait("quick/will0")
        for number in range(1, 31):
            program.write(entries(number))
            program.send(signal.SIGHUP)
            time.sleep(0.02)
        heard.wait_said("quick/plain", {"n": 30})
        heard.wait_said("quick/will0", {"online": 1, "n": 30})
        assert {said["n"] for said in heard.documents("#", heard.wait_more("quick/plain")[0].time)} <= {30}
        status = program.wait_status(lambda status: status["connections"]["needed"] == 2)
        assert status["active_configs"] == 2
        program.stop()
        states = {f"quick/will{number}": heard.documents(f"quick/will{number}") for number in range(2)}
        assert [said[-1]["online"] for said in states.values() if said] == [0] * len([s for s in states.values() if s])


# Statistics


def test_counts_go_on_after_a_new_start(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [entry("a", "counted/a"), entry("b", "counted/b", lwt=True), entry("c", "counted/c", qos=0)]
    with Subscriber(broker.port, "counted/#") as heard, Program(tmp_path, broker.port, entries) as program:
        for _ in range(2):
            heard.wait_more("counted/c", 5)
            program.stop()
            # What says goodbye is no publish of the schedule.
            said = [arrival for arrival in heard.arrivals if arrival.document.get("online") != 0]
            for name in "abc":
                counts, came = program.counts(name), [arrival for arrival in said if arrival.topic[-1] == name]
                assert counts["published"] == len(came), name
                assert counts["acknowledged"] == (0 if name == "c" else len(came)), name
                assert (counts["failed"], counts["missed"]) == (0, 0)
            assert program.status()["statistics"]["total_published"] == len(said)
            assert program.status()["running"] is False
            program.start()


def test_a_kill_loses_the_counts_of_the_last_seconds_only(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "killed") as heard, Program(tmp_path, broker.port, [entry("a", "killed")]) as program:
        program.wait_status(lambda status: status["statistics"]["total_published"] >= 5)
        program.stop(signal.SIGKILL)
        saved = program.status()["statistics"]["total_published"]
        before = len(heard.arrivals)
        assert saved <= before
        program.start()
        heard.wait_more("killed", 5)
        program.stop()
        after = len(heard.arrivals)
        assert program.status()["statistics"]["total_published"] == saved + after - before


def test_the_status_is_a_table_of_the_running_program(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [entry("a", "shown/a"), entry("b", "shown/b", lwt=True)]
    with Subscriber(broker.port, "shown/#") as heard, Program(tmp_path, broker.port, entries) as program:
        heard.wait("shown/b", 3)
        program.wait_status(lambda status: status["connected"])
        code, shown = program.run("--status")
        assert code == 0
        summary, headings, *rows = shown.splitlines()
        assert summary.startswith("2 active configurations, ")
        assert summary.endswith(", connected")
        assert headings.split("  ")[0] == "id"
        assert [row.split()[0] for row in rows] == ["total", "a", "b"]
        assert [row.split()[-2:] for row in rows[1:]] == [["open", "shown/a"], ["open", "shown/b"]]
        program.stop()
        code, shown = program.run("--status")
        assert code == 0
        assert shown.splitlines()[0].endswith(", no process publishes it")


def test_the_status_of_a_file_that_nobody_ever_published_is_a_table_too(tmp_path: Path) -> None:
    code, shown = Program(tmp_path, free_port(), [entry("a")]).run("--status")
    assert code == 0
    assert "no process publishes it" in shown
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["id", "total"]


def test_a_second_program_on_the_same_file_is_refused_in_one_line(tmp_path: Path, broker: Mosquitto) -> None:
    with Subscriber(broker.port, "twice") as heard, Program(tmp_path, broker.port, [entry("a", "twice")]) as program:
        heard.wait("twice")
        code, told = program.run()
        assert code == 2
        assert told.splitlines()[-1] == f"{program.file}: another process publishes it already"
        # The first one goes on.
        came = heard.wait_more("twice", 3)
        assert numbers(came, 0.1) == [0, 1, 2]


KILLED: dict[str, Any] = {
    "running": True, "connected": True, "problem": None, "broker": "b", "config": "c",
    "active_configs": 1, "faults": [], "connections": {"open": 1, "needed": 1},
    "publisher_id": "0123456789abcdef",
    "retained": [],
    "statistics": {
        "total_published": 7, "total_acknowledged": 7, "total_failed": 0, "total_missed": 0, "total_errors": 0,
        "last_published_at": "2026-01-01T00:00:00Z", "saved_at": "2026-01-01T00:00:00Z", "uptime_seconds": 1.0,
        "started_at": "2026-01-01T00:00:00Z",
    },
    "configs": [{
        "id": "a", "topic": "t/a", "connected": True, "published": 5, "acknowledged": 5, "failed": 0, "missed": 0,
        "last_published_at": None,
    }],
}  # fmt: skip


def spoilt(value: Any) -> Iterator[Any]:
    """A value of JSON without each of its parts, and with another type in the place of each."""
    yield from ({}, [5], 5.5)
    if isinstance(value, dict):
        for key in value:
            rest = {name: value[name] for name in value if name != key}
            yield rest
            yield from (rest | {key: other} for other in spoilt(value[key]))
    if isinstance(value, list):
        yield from ([other] for part in value for other in spoilt(part))


def test_no_statistics_file_is_too_broken_for_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "entries.json").write_text("[]")
    file = statistics_of(tmp_path / "entries.json")
    texts = [b"", b"{", b"null", b"\xff\xfe", b"[" * 5000]
    texts += [json.dumps(status).encode() for status in spoilt(KILLED)]
    for text in texts:
        file.write_bytes(text)
        assert main(["--config", str(tmp_path / "entries.json"), "--status"]) == 0
        assert "no process publishes it" in capsys.readouterr().out
    assert len(texts) > 100
    file.write_text(json.dumps(KILLED))
    assert main(["--config", str(tmp_path / "entries.json"), "--status"]) == 0
    assert capsys.readouterr().out.startswith("1 active configurations, 7 published, 7 acknowledged, 0 failed, 0 mis")


def test_a_killed_process_whose_clock_ran_ahead_is_not_taken_for_one_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "entries.json").write_text("[]")
    ahead = KILLED | {"statistics": KILLED["statistics"] | {"saved_at": "2999-01-01T00:00:00Z"}}
    statistics_of(tmp_path / "entries.json").write_text(json.dumps(ahead))
    assert main(["--config", str(tmp_path / "entries.json"), "--status"]) == 0
    assert "no process publishes it" in capsys.readouterr().out


def test_a_log_that_it_does_not_use_stops_neither_the_start_nor_the_status(tmp_path: Path, broker: Mosquitto) -> None:
    # A folder is no file that can be written, to the superuser neither.
    (tmp_path / "autoforge.log").mkdir()
    with (
        Subscriber(broker.port, "log/#") as heard,
        Program(tmp_path, broker.port, [entry("a", "log/a")]) as program,
    ):
        heard.wait("log/a")
        (tmp_path / "elsewhere").mkdir()
        code, shown = program.run("--status", LOG_FILE="elsewhere")
        assert (code, "active configurations" in shown) == (0, True)


def test_statistics_that_cannot_be_read_begin_anew_with_a_warning(tmp_path: Path, broker: Mosquitto) -> None:
    program = Program(tmp_path, broker.port, [entry("a", "anew")])
    statistics_of(program.file).write_bytes(b'{"configs": [')
    with Subscriber(broker.port, "anew") as heard, program:
        heard.wait("anew", 2)
        (line,) = program.lines("statistics begin anew")
        assert "WARNING" in line
        assert "entries.json.statistics" in line
        program.stop()
        assert program.counts("a")["published"] == len(heard.arrivals)


# What it cannot start with


def test_what_it_cannot_start_with_is_a_message_and_exit_code_2(tmp_path: Path) -> None:
    program = Program(tmp_path, free_port(), [])
    (tmp_path / "file").touch()
    for options, told in (
        (("--config", "nowhere.json"), "nowhere.json: there is no such file; create it"),
        (("--config", "."), "must be a file; it is a folder"),
        (("--config", "/"), "must be a file; it is a folder"),
        (("--port", "70000"), "MQTT_PORT=70000: "),
        (("--broker", "mqtt:/x"), "MQTT_BROKER: must be a host name"),
        (("--ca-cert", "nowhere.pem"), "MQTT_CA_CERT=nowhere.pem: must be the path of a file that exists"),
        (("--ca-cert", "entries.json"), "MQTT_CA_CERT, MQTT_CLIENT_CERT or MQTT_CLIENT_KEY: cannot be used"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ):
        code, shown = program.run(*options)
        assert (code, told in shown) == (2, True), shown
    code, shown = program.run(LOG_FILE="file/x.log")
    assert (code, shown) == (2, "LOG_FILE=file/x.log: must be a file that can be written\n")


def test_a_broken_file_stops_the_start(tmp_path: Path) -> None:
    code, shown = Program(tmp_path, free_port(), b"{}").run()
    assert (code, shown) == (2, f"{tmp_path}/entries.json: must be a JSON array of entries, [ … ], not one object\n")


# Files that are not as they should be


def test_a_start_with_a_malformed_file_is_refused_or_publishes_the_good_entries(
    tmp_path: Path, broker: Mosquitto
) -> None:
    expected: Counter[str] = Counter()
    with Subscriber(broker.port, "plant/#") as heard, ExitStack() as running:
        for number, found in enumerate(malformed(seed=5, count=10)):
            (tmp_path / str(number)).mkdir()
            program = running.enter_context(Program(tmp_path / str(number), broker.port, found.content))
            if found.touched is None:
                assert program.ended == 2, found
                assert program.told().startswith(f"{program.file}: "), found
            else:
                assert program.lines(f"entry {found.touched}"), found
                expected.update(f"plant/line/{place}" for place in range(8) if place != found.touched)
        heard.wait("#", expected.total())
        assert Counter(arrival.topic for arrival in heard.arrivals) == expected
    assert 8 * 3 < expected.total() < 8 * 9, "some of them start, and some do not"


@pytest.mark.parametrize("seed", [6, 7])
def test_malformed_files_as_many_as_the_log_holds_neither_end_it_nor_stay_without_a_message(
    seed: int, tmp_path: Path, broker: Mosquitto
) -> None:
    with Subscriber(broker.port, "through/#") as heard, Program(tmp_path, broker.port, [entry("a")]) as program:
        for number, found in enumerate(malformed(seed, BURST)):
            before = len(program.lines("ERROR"))
            program.write(found.content)
            program.send(signal.SIGHUP)
            program.wait_more("ERROR", before, f"a message for file {number}: {found}")
            line = program.lines("ERROR")[before]
            assert ("last good configuration" if found.touched is None else f"entry {found.touched}") in line
        assert program.ended is None
        program.write([entry("b", "through/b")])
        heard.wait("through/b")
