"""The program of the static publisher: what arrives, when, and what a change of the file does."""

import itertools
import json
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.malformed import malformed
from tests.publishing import DOCUMENTED, Arrival, Program, Subscriber, entry
from tests.support import Mosquitto, free_port, wait_for
from utils.log_lines import BURST

NEVER = 1000.0
"""An interval that does not end in a test."""


def numbers(arrivals: list[Arrival], interval: float) -> list[int]:
    """At which of its times each message came, if the first one came at its own."""
    return [round((arrival.time - arrivals[0].time) / interval) for arrival in arrivals]


def off_grid(arrivals: list[Arrival], interval: float) -> float:
    """How many seconds the middle one of the messages is from its time, if the first one came at its own."""
    steps = numbers(arrivals, interval)
    off = [
        abs(came.time - arrivals[0].time - step * interval)
        for came, step in zip(arrivals, steps, strict=True)
    ]
    return sorted(off)[len(off) // 2]


# What arrives


@pytest.mark.process
def test_the_documented_file_says_online_with_its_data(tmp_path: Path, broker: Mosquitto) -> None:
    with (
        Subscriber(broker.port, "mqtt/#") as heard,
        Program(tmp_path, broker.port, DOCUMENTED.encode()) as program,
    ):
        (first,) = heard.wait("mqtt/topic/name")
        assert (
            first.payload
            == b'{"online":1,"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
        )
        assert (first.qos, first.retain) == (1, False)
        assert program.stop() == 0
        heard.wait("mqtt/topic/name", 2)
        assert [said["online"] for said in heard.documents("mqtt/topic/name")] == [1, 0]


@pytest.mark.process
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_qos_and_retain_arrive_as_they_are_configured(
    tmp_path: Path, broker: Mosquitto, protocol: str
) -> None:
    kinds = {
        f"{protocol}/{qos}{'/retained' * retain}{'/will' * lwt}": {
            "qos": qos,
            "retain": retain,
            "lwt": lwt,
        }
        for qos, retain, lwt in itertools.product((0, 1, 2), (False, True), (False, True))
    }
    entries = [
        entry(str(n), topic, interval=NEVER, **kind)
        for n, (topic, kind) in enumerate(kinds.items())
    ]
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
            assert {came.topic for came in later.arrivals} == {
                topic for topic in kinds if "retained" in topic
            }


@pytest.mark.process
def test_each_entry_is_published_as_it_is_and_a_bad_one_is_told_in_a_line(
    tmp_path: Path, broker: Mosquitto
) -> None:
    data = {"online": "ja", "ä": [1, 2.50, None, {"b": True}], "n": 9007199254740993}
    entries = [
        entry("plain", "one/plain", data=data, interval=NEVER),
        entry("bad", "one/bad", interval="fast"),
        entry("a", "one/shared", lwt=True, interval=NEVER),
        entry("b", "one/shared", interval=NEVER),
    ]
    with (
        Subscriber(broker.port, "one/#") as heard,
        Program(tmp_path, broker.port, entries) as program,
    ):
        heard.wait("one/shared", 2)
        (plain,) = heard.wait("one/plain")
        assert (
            plain.payload.decode()
            == '{"online":"ja","ä":[1,2.5,null,{"b":true}],"n":9007199254740993}'
        )
        assert sorted(said["of"] for said in heard.documents("one/shared")) == ["a", "b"]
        assert not heard.of("one/bad")
        (line,) = program.lines("entry 1")
        allowed = "must be a number of seconds from 0.001 to 31536000"
        assert f'entry 1 (id "bad"): interval = "fast": {allowed}' in line


# When it arrives


@pytest.mark.process
def test_intervals_are_kept_without_drift(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [
        entry("a", "kept/a"), entry("b", "kept/b", interval=0.25),
        entry("c", "kept/c", lwt=True, interval=0.05),
    ]  # fmt: skip
    with Subscriber(broker.port, "kept/#") as heard, Program(tmp_path, broker.port, entries):
        heard.wait("kept/a", 51)
        for topic, interval in (("kept/a", 0.1), ("kept/b", 0.25), ("kept/c", 0.05)):
            came = heard.of(topic)
            assert numbers(came, interval) == list(range(len(came))), topic
            assert off_grid(came, interval) < interval / 5, topic
            # No drift: the last ten are not later than the first ten.
            late = [arrival.time - number * interval for number, arrival in enumerate(came)]
            assert min(late[-10:]) - min(late[:10]) == pytest.approx(0, abs=0.01), topic


@pytest.mark.process
def test_fractions_of_a_second_are_intervals_too(tmp_path: Path, broker: Mosquitto) -> None:
    fast = [entry("a", "fast", interval=0.004)]
    with Subscriber(broker.port, "fast") as heard, Program(tmp_path, broker.port, fast):
        came = heard.wait("fast", 251)[:251]
        # One second on a machine with nothing else to do; `make bench` measures the punctuality.
        assert 0.9 < came[-1].time - came[0].time < 2


@pytest.mark.process
def test_a_pause_brings_no_burst_and_leaves_the_times_as_they_were(
    tmp_path: Path, broker: Mosquitto
) -> None:
    entries = [entry("a", "pause/a"), entry("b", "pause/b", lwt=True)]
    with (
        Subscriber(broker.port, "pause/#") as heard,
        Program(tmp_path, broker.port, entries) as program,
    ):
        heard.wait("pause/b", 5)
        program.send(signal.SIGSTOP)
        time.sleep(1.5)
        awake = program.send(signal.SIGCONT)
        heard.wait_more("pause/a", 12)
        program.stop()
        for name in ("a", "b"):
            came = [
                arrival
                for arrival in heard.of(f"pause/{name}")
                if arrival.document.get("online") != 0
            ]
            # One at once for what fell due meanwhile, then each at its time.
            assert (
                len([arrival for arrival in came if awake - 0.05 <= arrival.time < awake + 0.08])
                <= 2
            )
            steps = numbers(came, 0.1)
            assert len(steps) == len(set(steps))
            assert off_grid(came, 0.1) < 0.03
            assert program.counts(name)["missed"] == pytest.approx(14, abs=2)
            assert program.counts(name)["missed"] == steps[-1] + 1 - len(came)


# What a change of the file does


@pytest.mark.process
def test_a_changed_file_is_taken_up_within_two_seconds(tmp_path: Path, broker: Mosquitto) -> None:
    with (
        Subscriber(broker.port, "hup") as heard,
        Program(tmp_path, broker.port, [entry("a", "hup")]) as program,
    ):
        heard.wait("hup")
        for how in ("in place", "as a whole", "at once"):
            new = [entry("a", "hup", data={"now": how})]
            changed = time.monotonic()
            if how == "in place":
                program.file.write_text(json.dumps(new))
            else:
                program.write(new)
            if how == "at once":
                program.send(signal.SIGHUP)
            assert heard.wait_said("hup", {"now": how}).time - changed < 2
        for _ in range(300):
            program.send(signal.SIGHUP)
        assert program.stop_seconds() < 2


@pytest.mark.process
def test_who_did_not_change_keeps_its_times_and_its_connection(
    tmp_path: Path, broker: Mosquitto
) -> None:
    stays = [entry("a", "stays/a", interval=0.2), entry("b", "stays/b", interval=0.2, lwt=True)]
    with (
        Subscriber(broker.port, "stays/#") as heard,
        Program(tmp_path, broker.port, stays) as program,
    ):
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


@pytest.mark.process
def test_a_changed_payload_of_an_entry_with_a_will_comes_without_an_offline(
    tmp_path: Path, broker: Mosquitto
) -> None:
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
        assert [said for said in heard.documents("again") if said["online"] == 0] == [
            {"online": 0, "n": 2}
        ]


@pytest.mark.process
def test_who_is_removed_says_offline_and_who_is_new_begins(
    tmp_path: Path, broker: Mosquitto
) -> None:
    old = entry("old", "swap/old", lwt=True, retain=True)
    with (
        Subscriber(broker.port, "swap/#") as heard,
        Program(tmp_path, broker.port, [old]) as program,
    ):
        heard.wait("swap/old")
        program.write([entry("new", "swap/new")])
        wait_for(
            lambda: heard.of("swap/old")[-1].payload == b"",
            what="the retained message to be cleared",
        )
        heard.wait("swap/new", 3)
        *_, offline, cleared = heard.of("swap/old")
        assert (offline.document, offline.retain) == ({"online": 0, "of": "old"}, True)
        assert (cleared.payload, cleared.retain) == (b"", True)
        program.stop()
        assert program.status()["statistics"]["total_published"] == len(heard.arrivals) - 2


@pytest.mark.process
def test_who_moves_or_loses_its_will_says_offline(tmp_path: Path, broker: Mosquitto) -> None:
    plain, will = entry("a", "move/old"), entry("a", "move/old", lwt=True)
    with (
        Subscriber(broker.port, "move/#") as heard,
        Program(tmp_path, broker.port, [plain]) as program,
    ):
        heard.wait_said("move/old", {"of": "a"})
        program.write([will])
        heard.wait_said("move/old", {"online": 1, "of": "a"})
        changed = time.monotonic()
        program.write([plain])
        heard.wait_said("move/old", {"online": 0, "of": "a"})
        heard.wait_said("move/old", {"of": "a"}, changed)
        changed = time.monotonic()
        program.write([will])
        heard.wait_said("move/old", {"online": 1, "of": "a"}, changed)
        changed = time.monotonic()
        program.write([will | {"topic": "move/new"}])
        heard.wait_said("move/old", {"online": 0, "of": "a"}, changed)
        assert heard.wait("move/new")[0].document == {"online": 1, "of": "a"}


@pytest.mark.process
def test_a_broken_or_missing_file_changes_nothing_until_it_is_mended(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with (
        Subscriber(broker.port, "broken") as heard,
        Program(tmp_path, broker.port, [entry("a", "broken")]) as program,
    ):
        heard.wait("broken", 2)
        for content, reason in (
            (b'[{"id": "a",\n "topic"]', "line 2, column 9: not JSON"),
            (None, "there is no such file"),
        ):
            program.file.unlink() if content is None else program.write(content)
            wait_for(partial(program.lines, reason), what="the line")
            came = heard.wait_more("broken", 12)
            assert numbers(came, 0.1) == list(range(len(came)))
            (line,) = program.lines(reason)
            assert "last good configuration" in line
            program.write([entry("a", "broken", data={"now": reason})])
            heard.wait_said("broken", {"now": reason})


@pytest.mark.process
def test_of_many_changes_in_quick_succession_the_last_one_holds(
    tmp_path: Path, broker: Mosquitto
) -> None:
    def entries(number: int) -> list[dict[str, object]]:
        return [
            entry("will", f"quick/will{number % 2}", lwt=True, data={"n": number}),
            entry("plain", "quick/plain", data={"n": number}),
        ]

    with (
        Subscriber(broker.port, "quick/#") as heard,
        Program(tmp_path, broker.port, entries(0)) as program,
    ):
        heard.wait("quick/will0")
        for number in range(1, 31):
            program.write(entries(number))
            program.send(signal.SIGHUP)
            time.sleep(0.02)
        heard.wait_said("quick/plain", {"n": 30})
        heard.wait_said("quick/will0", {"online": 1, "n": 30})
        assert {
            said["n"] for said in heard.documents("#", heard.wait_more("quick/plain")[0].time)
        } <= {30}
        status = program.wait_status(lambda status: status["connections"]["needed"] == 2)
        assert status["active_configs"] == 2
        program.stop()
        states = {
            f"quick/will{number}": heard.documents(f"quick/will{number}") for number in range(2)
        }
        assert [said[-1]["online"] for said in states.values() if said] == [0] * len(
            [s for s in states.values() if s]
        )


# Statistics


@pytest.mark.process
def test_counts_go_on_after_a_new_start(tmp_path: Path, broker: Mosquitto) -> None:
    entries = [
        entry("a", "counted/a"),
        entry("b", "counted/b", lwt=True),
        entry("c", "counted/c", qos=0),
    ]
    with (
        Subscriber(broker.port, "counted/#") as heard,
        Program(tmp_path, broker.port, entries) as program,
    ):
        for _ in range(2):
            heard.wait_more("counted/c", 5)
            program.stop()
            # What says goodbye is no publish of the schedule.
            said = [arrival for arrival in heard.arrivals if arrival.document.get("online") != 0]
            for name in "abc":
                counts, came = (
                    program.counts(name),
                    [arrival for arrival in said if arrival.topic[-1] == name],
                )
                assert counts["published"] == len(came), name
                assert counts["acknowledged"] == (0 if name == "c" else len(came)), name
                assert (counts["failed"], counts["missed"]) == (0, 0)
            assert program.status()["statistics"]["total_published"] == len(said)
            assert program.status()["running"] is False
            program.start()


@pytest.mark.process
def test_a_kill_loses_the_counts_of_the_last_seconds_only(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with (
        Subscriber(broker.port, "killed") as heard,
        Program(tmp_path, broker.port, [entry("a", "killed")]) as program,
    ):
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


@pytest.mark.process
def test_the_status_is_a_table_of_the_running_program(tmp_path: Path, broker: Mosquitto) -> None:
    code, shown = Program(tmp_path, free_port(), [entry("a")]).run("--status")
    assert (code, "no process publishes it" in shown) == (0, True)
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["id", "total"]
    entries = [entry("a", "shown/a"), entry("b", "shown/b", lwt=True)]
    with (
        Subscriber(broker.port, "shown/#") as heard,
        Program(tmp_path, broker.port, entries) as program,
    ):
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


@pytest.mark.process
def test_a_log_that_it_does_not_use_stops_neither_the_start_nor_the_status(
    tmp_path: Path, broker: Mosquitto
) -> None:
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


# What it cannot start with


@pytest.mark.broker
@pytest.mark.process
def test_what_it_cannot_start_with_is_a_message_and_exit_code_2(tmp_path: Path) -> None:
    program = Program(tmp_path, free_port(), [])
    (tmp_path / "file").touch()
    for options, told in (
        (("--config", "nowhere.json"), "nowhere.json: there is no such file; create it"),
        (("--config", "."), "must be a file; it is a folder"),
        (("--config", "/"), "must be a file; it is a folder"),
        (("--port", "70000"), "MQTT_PORT=70000: "),
        (("--broker", "mqtt:/x"), "MQTT_BROKER: must be a host name"),
        (
            ("--ca-cert", "nowhere.pem"),
            "MQTT_CA_CERT=nowhere.pem: must be the path of a file that exists",
        ),
        (
            ("--ca-cert", "entries.json"),
            "MQTT_CA_CERT, MQTT_CLIENT_CERT or MQTT_CLIENT_KEY: cannot be used",
        ),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ):
        code, shown = program.run(*options)
        assert (code, told in shown) == (2, True), shown
    program.write(b"{}")
    _, shown = program.run()
    assert shown == f"{program.file}: must be a JSON array of entries, [ … ]\n"
    code, shown = program.run(LOG_FILE="file/x.log")
    assert (code, shown) == (2, "LOG_FILE=file/x.log: must be a file that can be written\n")


# Files that are not as they should be


@pytest.mark.process
def test_malformed_files_as_many_as_the_log_holds_neither_end_it_nor_stay_without_a_message(
    tmp_path: Path, broker: Mosquitto
) -> None:
    with (
        Subscriber(broker.port, "through/#") as heard,
        Program(tmp_path, broker.port, [entry("a")]) as program,
    ):
        for number, found in enumerate(malformed(6, BURST)):
            before = len(program.lines("ERROR"))
            program.write(found.content)
            program.send(signal.SIGHUP)
            program.wait_more("ERROR", before, f"a message for file {number}: {found}")
            line = program.lines("ERROR")[before]
            assert (
                "last good configuration" if found.touched is None else f"entry {found.touched}"
            ) in line
        assert program.ended is None
        program.write([entry("b", "through/b")])
        heard.wait("through/b")
