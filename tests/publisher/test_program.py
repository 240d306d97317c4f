"""`python -m publisher`: the times of what it publishes, its signals, its options and its output."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.publishing import Program, Run, entry, numbers, off_grid, statistics_of
from tests.support import free_port


@pytest.mark.process
def test_intervals_are_kept_without_drift_also_those_of_milliseconds(run: Run) -> None:
    intervals = {"kept/a": 0.1, "kept/b": 0.25, "kept/c": 0.2}
    each = intervals.items()
    entries = [entry(topic[-1], topic, interval=often, lwt=often == 0.2) for topic, often in each]
    with run("kept/#", [*entries, entry("fast", "kept/fast", interval=0.004)]) as (heard, _):
        heard.wait("kept/a", 36)
        for topic, interval in each:
            came = heard.of(topic)
            assert heard.none_left_out(topic, interval), topic
            assert off_grid(came, interval) < interval / 5, topic
            # No drift: the last ten are not later than the first ten.
            late = [arrival.time - number * interval for number, arrival in enumerate(came)]
            assert min(late[-10:]) - min(late[:10]) == pytest.approx(0, abs=0.01), topic
        fast = heard.wait("kept/fast", 251)
        # One second on a machine with nothing else to do; `make bench` measures the punctuality.
        assert 0.9 < fast[250].time - fast[0].time < 2


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
            # One at once for all that fell due meanwhile, then each at its time.
            assert sum(awake - 0.05 <= arrival.time < awake + 0.08 for arrival in came) <= 2
            steps = numbers(came, 0.1)
            assert len(steps) == len(set(steps))
            assert off_grid(came, 0.1) < 0.03
            missed = program.counts(name)["missed"]
            assert missed == pytest.approx(14, abs=2)
            assert missed == steps[-1] + 1 - len(came)


@pytest.mark.process
def test_a_changed_file_is_published_within_two_seconds(run: Run) -> None:
    with run("hup", [entry("a", "hup")]) as (heard, program):
        heard.wait("hup")
        for how in ("in place", "as a whole", "at once"):
            new = [entry("a", "hup", data={"now": how})]
            changed = time.monotonic()
            if how == "in place":
                program.path.write_text(json.dumps(new))
            elif how == "as a whole":
                program.write(new)
            else:
                program.reload(new)
            assert heard.wait_said("hup", {"now": how}).time - changed < 2
        for _ in range(300):
            program.send(signal.SIGHUP)
        assert program.stop_seconds() < 2


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
def test_the_status_can_be_shown_while_it_runs_and_while_not(run: Run, tmp_path: Path) -> None:
    entries = [entry("a", "shown/a"), entry("b", "shown/b", lwt=True)]
    # A folder as the backend's log, which the program does not use; `--status` uses no log at all.
    (tmp_path / "autoforge.log").mkdir()
    with run("shown/#", entries) as (_, program):
        program.wait_connected()
        code, shown = program.run("--status", LOG_FILE="autoforge.log")
        summary, _, *rows = shown.splitlines()
        assert (code, summary.split(", ")[0]) == (0, "2 active configurations")
        assert summary.endswith(", connected")
        assert [row.split()[0] for row in rows] == ["total", "a", "b"]
        assert [row.split()[-2:] for row in rows[1:]] == [["open", "shown/a"], ["open", "shown/b"]]
        program.stop()
        assert not program.lines("cannot be written")
    # Before the first start there are no statistics.
    for expected in (["id", "total", "a", "b"], ["id", "total"]):
        code, shown = program.run("--status")
        summary, *rows = shown.splitlines()
        assert code == 0
        assert summary.endswith(", no process publishes it")
        assert [row.split()[0] for row in rows] == expected
        statistics_of(program.path).unlink(missing_ok=True)


UNUSABLE = {
    ("--config", "nowhere.json"): "nowhere.json: there is no such file; create it",
    ("--config", "."): "must be a file; it is a folder",
    ("--config", "/"): "must be a file; it is a folder",
    ("--port", "70000"): "MQTT_PORT=70000: ",
    ("--broker", "mqtt:/x"): "MQTT_BROKER: must be a host name",
    ("--ca-cert", "no.pem"): "MQTT_CA_CERT=no.pem: must be the path of a file that exists",
    ("--ca-cert", "entries.json"): "MQTT_CLIENT_KEY: cannot be used",
    ("--nonsense",): "unrecognized arguments: --nonsense",
}


@pytest.mark.broker
@pytest.mark.process
def test_a_start_that_fails_prints_why_and_has_exit_code_2(tmp_path: Path) -> None:
    program = Program(tmp_path, free_port(), [])
    (tmp_path / "file").touch()
    for options, told in UNUSABLE.items():
        code, shown = program.run(*options)
        assert (code, told in shown) == (2, True), shown
    program.write(b"{}")
    assert program.run() == (2, f"{program.path}: must be a JSON array of entries, [ … ]\n")
    told = "LOG_FILE=file/x.log: must be a file that can be written: Not a directory\n"
    assert program.run(LOG_FILE="file/x.log") == (2, told)
