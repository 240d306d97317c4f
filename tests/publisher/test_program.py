"""The program of the static publisher: what arrives, when, and what a change of the file does."""

import itertools
import json
import signal
import time
from pathlib import Path

import pytest

from tests.malformed import malformed
from tests.publishing import (
    DOCUMENTED,
    NEVER,
    UNUSABLE_CERTIFICATE,
    Arrival,
    Program,
    Run,
    Subscriber,
    entry,
    none_left_out,
    numbers,
)
from tests.support import Mosquitto, free_port, wait_for
from utils.json_types import JsonObject
from utils.log_lines import BURST


def off_grid(arrivals: list[Arrival], interval: float) -> float:
    """How many seconds the middle one of the messages is from its time, if the first one came at its own."""
    times = [arrivals[0].time + step * interval for step in numbers(arrivals, interval)]
    off = [abs(came.time - time) for came, time in zip(arrivals, times, strict=True)]
    return sorted(off)[len(off) // 2]


# What arrives


@pytest.mark.process
def test_the_documented_file_says_online_with_its_data(run: Run) -> None:
    with run("mqtt/#", DOCUMENTED.encode()) as (heard, program):
        (first,) = heard.wait("mqtt/topic/name")
        data = b'"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60'
        assert first.payload == b'{"online":1,' + data + b"}"
        assert (first.qos, first.retain) == (1, False)
        assert program.stop() == 0
        heard.wait("mqtt/topic/name", 2)
        assert [said["online"] for said in heard.documents("mqtt/topic/name")] == [1, 0]


@pytest.mark.process
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_qos_and_retain_arrive_as_configured(run: Run, broker: Mosquitto, protocol: str) -> None:
    kinds = {
        f"{protocol}/{qos}{'/retained' * retain}{'/will' * lwt}": (qos, retain, lwt)
        for qos, retain, lwt in itertools.product((0, 1, 2), (False, True), (False, True))
    }
    entries = [
        entry(topic.replace("/", " "), topic, interval=NEVER, qos=qos, retain=retain, lwt=lwt)
        for topic, (qos, retain, lwt) in kinds.items()
    ]
    with run(f"{protocol}/#", entries, MQTT_PROTOCOL=protocol) as (heard, _):
        heard.wait("#", len(kinds))
        came = {
            one.topic: (one.qos, one.retain, "online" in one.document) for one in heard.arrivals
        }
        assert came == kinds
        with Subscriber(broker.port, f"{protocol}/#") as later:
            later.wait("#", 6)
            retained = {topic for topic in kinds if "retained" in topic}
            assert {came.topic for came in later.arrivals} == retained


@pytest.mark.process
def test_each_entry_is_published_as_it_is_and_a_bad_one_is_told_in_a_line(run: Run) -> None:
    data = {"online": "ja", "ä": [1, 2.50, None, {"b": True}], "n": 9007199254740993}
    entries = [
        entry("plain", "one/plain", data=data, interval=NEVER),
        entry("bad", "one/bad", interval="fast"),
        entry("a", "one/shared", lwt=True, interval=NEVER),
        entry("b", "one/shared", interval=NEVER),
    ]
    with run("one/#", entries) as (heard, program):
        heard.wait("one/shared", 2)
        (plain,) = heard.wait("one/plain")
        written = '{"online":"ja","ä":[1,2.5,null,{"b":true}],"n":9007199254740993}'
        assert plain.payload.decode() == written
        assert sorted(said["of"] for said in heard.documents("one/shared")) == ["a", "b"]
        assert not heard.of("one/bad")
        (line,) = program.lines("entry 1")
        allowed = "must be a number of seconds from 0.001 to 31536000"
        assert f'entry 1 (id "bad"): interval = "fast": {allowed}' in line


# When it arrives


@pytest.mark.process
def test_intervals_are_kept_without_drift(run: Run) -> None:
    intervals = {"kept/a": 0.1, "kept/b": 0.25, "kept/c": 0.2}
    each = intervals.items()
    entries = [entry(topic[-1], topic, interval=often, lwt=often == 0.2) for topic, often in each]
    with run("kept/#", entries) as (heard, _):
        heard.wait("kept/a", 51)
        for topic, interval in each:
            came = heard.of(topic)
            assert none_left_out(came, interval), topic
            assert off_grid(came, interval) < interval / 5, topic
            # No drift: the last ten are not later than the first ten.
            late = [arrival.time - number * interval for number, arrival in enumerate(came)]
            assert min(late[-10:]) - min(late[:10]) == pytest.approx(0, abs=0.01), topic


@pytest.mark.process
def test_fractions_of_a_second_are_intervals_too(run: Run) -> None:
    with run("fast", [entry("a", "fast", interval=0.004)]) as (heard, _):
        came = heard.wait("fast", 251)[:251]
        # One second on a machine with nothing else to do; `make bench` measures the punctuality.
        assert 0.9 < came[-1].time - came[0].time < 2


@pytest.mark.process
def test_a_pause_brings_no_burst_and_leaves_the_times_as_they_were(run: Run) -> None:
    entries = [entry("a", "pause/a"), entry("b", "pause/b", lwt=True)]
    with run("pause/#", entries) as (heard, program):
        heard.wait("pause/b", 5)
        program.send(signal.SIGSTOP)
        time.sleep(1.5)
        awake = program.send(signal.SIGCONT)
        heard.wait_more("pause/a", 12)
        program.stop()
        for name in ("a", "b"):
            came = heard.of_schedule(f"pause/{name}")
            # One at once for what fell due meanwhile, then each at its time.
            assert sum(awake - 0.05 <= arrival.time < awake + 0.08 for arrival in came) <= 2
            steps = numbers(came, 0.1)
            assert len(steps) == len(set(steps))
            assert off_grid(came, 0.1) < 0.03
            missed = program.counts(name)["missed"]
            assert missed == pytest.approx(14, abs=2)
            assert missed == steps[-1] + 1 - len(came)


# What a change of the file does


@pytest.mark.process
def test_a_changed_file_is_taken_up_within_two_seconds(run: Run) -> None:
    with run("hup", [entry("a", "hup")]) as (heard, program):
        heard.wait("hup")
        for how in ("in place", "as a whole", "at once"):
            new = [entry("a", "hup", data={"now": how})]
            changed = time.monotonic()
            if how == "in place":
                program.file.write_text(json.dumps(new))
            elif how == "as a whole":
                program.write(new)
            else:
                program.reload(new)
            assert heard.wait_said("hup", {"now": how}).time - changed < 2
        for _ in range(300):
            program.send(signal.SIGHUP)
        assert program.stop_seconds() < 2


@pytest.mark.process
def test_who_did_not_change_keeps_its_times_and_its_connection(run: Run) -> None:
    stays = [entry("a", "stays/a", interval=0.2), entry("b", "stays/b", interval=0.2, lwt=True)]
    with run("stays/#", stays) as (heard, program):
        heard.wait("stays/b", 3)
        # The times and the version of an entry are not what is published.
        later = [one | {"version": 2, "updated_at": "2026-01-01T00:00:00"} for one in stays]
        program.write([entry("c", "stays/c"), *reversed(later)])
        heard.wait("stays/c", 5)
        for topic in ("stays/a", "stays/b"):
            came = heard.of(topic)
            assert none_left_out(came, 0.2), topic
            assert off_grid(came, 0.2) < 0.04
        assert {said["online"] for said in heard.documents("stays/b")} == {1}


@pytest.mark.process
def test_a_changed_payload_of_an_entry_with_a_will_comes_without_an_offline(run: Run) -> None:
    with run("again", [entry("a", "again", lwt=True)]) as (heard, program):
        heard.wait("again", 2)
        for number in range(3):
            program.reload([entry("a", "again", lwt=True, data={"n": number})])
            heard.wait_said("again", {"online": 1, "n": number})
        assert {said["online"] for said in heard.documents("again")} == {1}
        program.send(signal.SIGKILL)
        # The will is the changed one, and nothing has stayed of those before it.
        heard.wait_said("again", {"online": 0, "n": 2})
        wills = [said.document for said in heard.arrivals if said.offline]
        assert wills == [{"online": 0, "n": 2}]


@pytest.mark.process
def test_who_is_removed_says_offline_and_who_is_new_begins(run: Run) -> None:
    with run("swap/#", [entry("old", "swap/old", lwt=True, retain=True)]) as (heard, program):
        heard.wait("swap/old")
        program.write([entry("new", "swap/new")])
        wait_for(lambda: heard.of("swap/old")[-1].payload == b"", what="an empty message")
        heard.wait("swap/new", 3)
        *_, offline, cleared = heard.of("swap/old")
        assert (offline.document, offline.retain) == ({"online": 0, "of": "old"}, True)
        assert (cleared.payload, cleared.retain) == (b"", True)
        program.stop()
        assert program.published() == len(heard.arrivals) - 2


@pytest.mark.process
def test_who_moves_or_loses_its_will_says_offline(run: Run) -> None:
    plain, will = entry("a", "move/old"), entry("a", "move/old", lwt=True)
    moved = will | {"topic": "move/new"}
    bare: JsonObject = {"of": "a"}
    online, offline = bare | {"online": 1}, bare | {"online": 0}
    steps = [(will, [online]), (plain, [offline, bare]), (will, [online]), (moved, [offline])]
    with run("move/#", [plain]) as (heard, program):
        heard.wait_said("move/old", bare)
        for after, said in steps:
            changed = time.monotonic()
            program.write([after])
            for document in said:
                heard.wait_said("move/old", document, changed)
        assert heard.wait("move/new")[0].document == online


@pytest.mark.process
def test_a_broken_or_missing_file_changes_nothing_until_it_is_mended(run: Run) -> None:
    with run("broken", [entry("a", "broken")]) as (heard, program):
        heard.wait("broken", 2)
        broken = b'[{"id": "a",\n "topic"]', "line 2, column 9: not JSON"
        for content, reason in (broken, (None, "there is no such file")):
            program.file.unlink() if content is None else program.write(content)
            (line,) = program.wait_line(reason)
            assert none_left_out(heard.wait_more("broken", 12), 0.1)
            assert program.lines(reason) == [line]
            assert "last good configuration" in line
            program.write([entry("a", "broken", data={"now": reason})])
            heard.wait_said("broken", {"now": reason})


@pytest.mark.process
def test_of_many_changes_in_quick_succession_the_last_one_holds(run: Run) -> None:
    def entries(number: int) -> list[JsonObject]:
        will = entry("will", f"quick/will{number % 2}", lwt=True, data={"n": number})
        return [will, entry("plain", "quick/plain", data={"n": number})]

    with run("quick/#", entries(0)) as (heard, program):
        heard.wait("quick/will0")
        for number in range(1, 31):
            program.reload(entries(number))
            time.sleep(0.02)
        heard.wait_said("quick/plain", {"n": 30})
        heard.wait_said("quick/will0", {"online": 1, "n": 30})
        after = heard.documents("#", heard.wait_more("quick/plain")[0].time)
        assert {said["n"] for said in after} <= {30}
        status = program.wait_status(lambda status: status["connections"]["needed"] == 2)
        assert status["active_configs"] == 2
        program.stop()
        for topic in ("quick/will0", "quick/will1"):
            assert [said["online"] for said in heard.documents(topic)[-1:]] in ([], [0])


# Statistics


@pytest.mark.process
def test_counts_go_on_after_a_new_start(run: Run) -> None:
    kinds: JsonObject = {"a": {}, "b": {"lwt": True}, "c": {"qos": 0}}
    entries = [entry(name, f"counted/{name}", **kind) for name, kind in kinds.items()]
    with run("counted/#", entries) as (heard, program):
        for _ in range(2):
            heard.wait_more("counted/c", 5)
            program.stop()
            for name in "abc":
                counts, came = program.counts(name), len(heard.of_schedule(f"counted/{name}"))
                assert counts["published"] == came, name
                assert counts["acknowledged"] == (0 if name == "c" else came), name
                assert (counts["failed"], counts["missed"]) == (0, 0)
            assert program.published() == len(heard.of_schedule())
            assert program.status()["running"] is False
            program.start()


@pytest.mark.process
def test_a_kill_loses_the_counts_of_the_last_seconds_only(run: Run) -> None:
    with run("killed", [entry("a", "killed")]) as (heard, program):
        program.wait_status(lambda status: status["statistics"]["total_published"] >= 5)
        program.stop(signal.SIGKILL)
        saved, before = program.published(), len(heard.arrivals)
        assert saved <= before
        program.start()
        heard.wait_more("killed", 5)
        program.stop()
        assert program.published() == saved + len(heard.arrivals) - before


@pytest.mark.process
def test_the_status_is_a_table_of_the_running_program(run: Run, tmp_path: Path) -> None:
    code, shown = Program(tmp_path, free_port(), [entry("a")]).run("--status")
    assert (code, "no process publishes it" in shown) == (0, True)
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["id", "total"]
    entries = [entry("a", "shown/a"), entry("b", "shown/b", lwt=True)]
    with run("shown/#", entries) as (heard, program):
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
def test_a_log_it_does_not_use_stops_neither_start_nor_status(run: Run, tmp_path: Path) -> None:
    # A folder is no file that can be written, to the superuser neither.
    (tmp_path / "autoforge.log").mkdir()
    with run("log/#", [entry("a", "log/a")]) as (heard, program):
        heard.wait("log/a")
        (tmp_path / "elsewhere").mkdir()
        code, shown = program.run("--status", LOG_FILE="elsewhere")
        assert (code, "active configurations" in shown) == (0, True)


UNUSABLE = {
    ("--config", "nowhere.json"): "nowhere.json: there is no such file; create it",
    ("--config", "."): "must be a file; it is a folder",
    ("--config", "/"): "must be a file; it is a folder",
    ("--port", "70000"): "MQTT_PORT=70000: ",
    ("--broker", "mqtt:/x"): "MQTT_BROKER: must be a host name",
    ("--ca-cert", "no.pem"): "MQTT_CA_CERT=no.pem: must be the path of a file that exists",
    ("--ca-cert", "entries.json"): UNUSABLE_CERTIFICATE,
    ("--nonsense",): "unrecognized arguments: --nonsense",
}


@pytest.mark.broker
@pytest.mark.process
def test_what_it_cannot_start_with_is_a_message_and_exit_code_2(tmp_path: Path) -> None:
    program = Program(tmp_path, free_port(), [])
    (tmp_path / "file").touch()
    for options, told in UNUSABLE.items():
        code, shown = program.run(*options)
        assert (code, told in shown) == (2, True), shown
    program.write(b"{}")
    _, shown = program.run()
    assert shown == f"{program.file}: must be a JSON array of entries, [ … ]\n"
    code, shown = program.run(LOG_FILE="file/x.log")
    assert (code, shown) == (
        2,
        "LOG_FILE=file/x.log: must be a file that can be written: Not a directory\n",
    )


@pytest.mark.process
def test_malformed_files_as_many_as_the_log_holds_are_all_told_and_end_nothing(run: Run) -> None:
    with run("through/#", [entry("a")]) as (heard, program):
        for number, found in enumerate(malformed(6, BURST)):
            before = len(program.lines("ERROR"))
            program.reload(found.content)
            what = f"a message for file {number}: {found}"
            line = program.wait_line("ERROR", before, what)[before]
            whole = found.touched is None
            assert ("last good configuration" if whole else f"entry {found.touched}") in line
        assert program.ended is None
        program.write([entry("b", "through/b")])
        heard.wait("through/b")
