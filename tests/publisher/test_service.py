"""PublisherService: what it publishes, how it applies changes, and which of several services publishes a file."""

import itertools
import json
import logging
import signal
import time
from pathlib import Path

import pytest
import trustme
from filelock import FileLock

from publisher import service as module
from publisher.loader import DEFAULT_PATH, ConfigurationError
from publisher.service import AlreadyPublished, PublisherService
from tests.malformed import malformed
from tests.publishing import (
    NEVER,
    Log,
    Patch,
    Program,
    PublisherSite,
    RecordingSubscriber,
    entry,
    off_grid,
    write,
)
from tests.support import free_port, wait_for
from utils.json_types import JsonObject


def test_its_broker_and_its_file_are_those_of_the_environment(monkeypatch: Patch) -> None:
    monkeypatch.setenv("MQTT_BROKER", "broker.example")
    monkeypatch.setenv("MQTT_PORT", "1234")
    service = PublisherService()
    assert service.path == DEFAULT_PATH == Path("JSON/payloadStaticConfig.json")
    assert service.get_status()["broker"] == "mqtt://broker.example:1234"
    monkeypatch.setenv("PUBLISHER_CONFIG", "other.json")
    assert PublisherService().path == Path("other.json")
    assert PublisherService(path="third.json").get_status()["config"] == "third.json"


def test_its_status_has_everything(site: PublisherSite, caplog: Log) -> None:
    one = site.service([entry("a", "t/b"), entry("b", lwt=True), entry("c", interval=0)])
    wait_for(lambda: {said["of"] for said in site.heard.documents("t/b")} == {"a", "b"})
    site.heard.wait("t/b", 4)
    status = one.wait_connected()
    assert (status["running"], status["problem"]) == (True, None)
    assert status["broker"] == f"mqtt://127.0.0.1:{site.broker.port}"
    assert status["config"] == str(site.file)
    assert status["connections"] == {"open": 2, "needed": 2}
    assert status["active_configs"] == 2
    assert [fault.split(":")[0] for fault in status["faults"]] == ['entry 2 (id "c")']
    assert caplog.messages.count(f"{site.file}: {status['faults'][0]}") == 1
    shown = [(row["id"], row["topic"], row["connected"]) for row in status["configs"]]
    assert shown == [("a", "t/b", True), ("b", "t/b", True)]
    assert json.loads(json.dumps(status)) == status
    one.stop()
    rows, total = one.status()["configs"], one.status()["statistics"]
    assert total["total_published"] == sum(row["published"] for row in rows) > 3
    assert total["total_acknowledged"] == sum(row["acknowledged"] for row in rows) > 3
    assert [total[f"total_{name}"] for name in ("failed", "errors", "missed")] == [0, 0, 0]
    assert total["last_published_at"] == max(row["last_published_at"] or "" for row in rows)
    assert 0 < total["uptime_seconds"] < 20


def test_an_unusable_file_or_folder_stops_the_start_but_no_other_service(
    site: PublisherSite,
) -> None:
    lock = Path(f"{site.file}.lock")
    lock.mkdir()
    one, other = site.service(), site.service()
    with pytest.raises(ConfigurationError, match=r"entries\.json\.lock: cannot be written"):
        one.start()
    lock.rmdir()
    site.file.write_text("[{")
    with pytest.raises(ConfigurationError, match=r"entries\.json: line 1, column 3: not JSON"):
        one.start()
    assert not one.alive
    write(site.file, [entry("a")])
    other.start()
    assert other.alive


@pytest.mark.parametrize("content", [b'[{"id": "a",\n "topic"]', None], ids=["broken", "missing"])
def test_a_file_that_cannot_be_read_changes_nothing_until_it_is_corrected(
    site: PublisherSite, caplog: Log, content: bytes | None
) -> None:
    one = site.service([entry("a")])
    site.heard.wait("t/a", 2)
    one.write(content) if content else one.path.unlink()
    reason = "line 2, column 9: not JSON" if content else "there is no such file"
    wait_for(lambda: reason in caplog.text, what="the error")
    site.heard.wait_more("t/a", 4)
    assert site.heard.none_left_out("t/a", 0.1)
    (line,) = [text for text in caplog.messages if reason in text]
    assert line.endswith("; the last good configuration stays")
    assert one.reload_config() is False
    one.write([entry("a", data={"now": "corrected"})])
    site.heard.wait_said("t/a", {"now": "corrected"})


def test_each_of_many_malformed_files_is_logged_and_ends_nothing(
    site: PublisherSite, monkeypatch: Patch, caplog: Log
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60)
    one = site.service([entry("a")])
    for found in malformed(6, 100):
        caplog.clear()
        one.write(found.content)
        assert one.reload_config() is (found.touched is not None), found
        at = f"entry {found.touched}"
        part = "the last good configuration stays" if found.touched is None else at
        first = caplog.records[0]
        assert (first.levelname, part in first.message) == ("ERROR", True), found
    one.reload([entry("b")])
    site.heard.wait("t/b")


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_qos_and_retain_arrive_as_configured(site: PublisherSite, protocol: str) -> None:
    kinds = {
        f"t/{qos}{'/retained' * retain}{'/will' * lwt}": (qos, retain, lwt)
        for qos, retain, lwt in itertools.product((0, 1, 2), (False, True), (False, True))
    }
    entries = [
        entry(topic.replace("/", " "), topic, interval=NEVER, qos=qos, retain=retain, lwt=lwt)
        for topic, (qos, retain, lwt) in kinds.items()
    ]
    site.service(entries, mqtt_protocol=protocol)
    site.heard.wait("#", len(kinds))
    came = {
        one.topic: (one.qos, one.retain, "online" in one.document) for one in site.heard.arrivals
    }
    assert came == kinds
    with RecordingSubscriber(site.broker.port) as later:
        later.wait("#", 6)
        retained = {topic for topic in kinds if "retained" in topic}
        assert {came.topic for came in later.arrivals} == retained


def test_an_entry_that_did_not_change_keeps_its_times_and_its_connection(
    site: PublisherSite,
) -> None:
    stays = [entry("a", interval=0.2), entry("b", interval=0.2, lwt=True)]
    one = site.service(stays)
    site.heard.wait("t/b", 3)
    # The times and the version of an entry are not published.
    later = [one | {"version": 2, "updated_at": "2026-01-01T00:00:00"} for one in stays]
    one.write([entry("c"), *reversed(later)])
    site.heard.wait("t/c", 5)
    for topic in ("t/a", "t/b"):
        came = site.heard.of(topic)
        assert site.heard.none_left_out(topic, 0.2), topic
        assert off_grid(came, 0.2) < 0.04
    assert {said["online"] for said in site.heard.documents("t/b")} == {1}


def test_an_entry_that_moves_or_loses_its_will_says_offline(site: PublisherSite) -> None:
    plain, will = entry("a", "t/old"), entry("a", "t/old", lwt=True)
    moved = will | {"topic": "t/new"}
    bare: JsonObject = {"of": "a"}
    online, offline = bare | {"online": 1}, bare | {"online": 0}
    steps = [(will, [online]), (plain, [offline, bare]), (will, [online]), (moved, [offline])]
    one = site.service([plain])
    site.heard.wait_said("t/old", bare)
    for after, said in steps:
        changed = time.monotonic()
        one.reload([after])
        for document in said:
            site.heard.wait_said("t/old", document, changed)
    assert site.heard.wait("t/new")[0].document == online


def test_of_many_changes_in_quick_succession_the_last_one_stays(site: PublisherSite) -> None:
    def entries(number: int) -> list[JsonObject]:
        will = entry("will", f"t/will{number % 2}", lwt=True, data={"n": number})
        return [will, entry("plain", data={"n": number})]

    one = site.service(entries(0))
    site.heard.wait("t/will0")
    for number in range(1, 31):
        one.reload(entries(number))
        time.sleep(0.02)
    site.heard.wait_said("t/plain", {"n": 30})
    site.heard.wait_said("t/will0", {"online": 1, "n": 30})
    after = site.heard.documents("#", site.heard.wait_more("t/plain")[0].time)
    assert {said["n"] for said in after} <= {30}
    status = one.wait_status(lambda status: status["connections"]["needed"] == 2)
    assert status["active_configs"] == 2
    one.stop()
    for topic in ("t/will0", "t/will1"):
        assert [said["online"] for said in site.heard.documents(topic)[-1:]] in ([], [0])


def test_only_one_service_publishes_a_file_or_a_switched_link(
    site: PublisherSite, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        write(tmp_path / name, [entry(name)])
    site.file.unlink()
    site.file.symlink_to(tmp_path / "first")
    one, other = site.service(), site.service()
    one.start()
    site.heard.wait("t/first", 2)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "second")
    link.replace(site.file)
    site.heard.wait("t/second", 2)
    assert other.status()["running"]
    message = r"entries\.json: another process publishes it already"
    with pytest.raises(AlreadyPublished, match=message):
        other.start()
    one.stop()
    other.start()
    site.heard.wait_more("t/second", 2)


def test_it_can_be_started_and_stopped_twice_and_its_counts_continue(site: PublisherSite) -> None:
    write(site.file, [entry("a"), entry("b", lwt=True), entry("c", qos=0)])
    one = site.service()
    one.stop()
    for _ in range(3):
        one.start()
        one.start()
        came = site.heard.wait_more("t/c", 6)
        assert came[5].time - came[0].time == pytest.approx(0.5, abs=0.05), "it publishes once"
        one.stop()
        one.stop()
        assert not one.alive
        status = one.status()
        assert (status["running"], status["connected"]) == (False, False)
        assert status["connections"]["open"] == 0
        for name in "abc":
            counts, number = one.counts(name), len(site.heard.of_schedule(f"t/{name}"))
            assert counts["published"] == number, name
            assert counts["acknowledged"] == (0 if name == "c" else number), name
            assert (counts["failed"], counts["missed"]) == (0, 0)
        assert one.published() == len(site.heard.of_schedule())


def test_a_standby_checks_reloads_and_publishes_when_the_first_service_stops(
    site: PublisherSite,
) -> None:
    first, second = site.service([entry("a")]), site.service()
    second.start(standby=True)
    site.heard.wait("t/a", 2)
    site.file.write_text("[")
    assert second.reload_config() is False
    second.reload([entry("a"), entry("b")])
    came = site.heard.wait("t/b", 11)
    assert came[10].time - came[0].time == pytest.approx(1.0, abs=0.05), "one of them publishes"
    assert second.alive
    assert second.wait_connected()["configs"][0]["published"] > 0
    first.stop()
    before = len(site.heard.arrivals)
    site.heard.wait_more("t/a", 3)
    second.stop()
    assert second.published() == len(site.heard.arrivals) > before


def test_a_standby_that_was_stopped_does_not_take_over(site: PublisherSite) -> None:
    first, second = site.service([entry("a")]), site.service()
    second.start(standby=True)
    second.stop()
    first.stop()
    third = site.service([entry("a")])
    assert (third.alive, second.alive) == (True, False)


@pytest.mark.process
def test_a_standby_takes_over_from_a_process_that_is_killed(
    site: PublisherSite, tmp_path: Path
) -> None:
    write(site.file, [entry("a"), entry("b", lwt=True)])
    with Program(tmp_path, site.broker.port, site.file.read_bytes()) as program:
        standby = site.service()
        standby.start(standby=True)
        site.heard.wait("t/b", 3)
        program.wait_connected()
        assert standby.status()["running"]
        program.stop(signal.SIGKILL)
        killed = time.monotonic()
        site.heard.wait_said("t/b", {"online": 0, "of": "b"})
        assert site.heard.wait_said("t/b", {"online": 1, "of": "b"}, killed).time - killed < 2
        site.heard.wait_more("t/a", 2)
    with Program(tmp_path, site.broker.port, site.file.read_bytes()) as program:
        assert program.ended == 2, "the standby publishes it"


def test_a_standby_waits_for_a_missing_certificate(
    site: PublisherSite, tmp_path: Path, caplog: Log
) -> None:
    certificate = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    tls = {"mqtt_broker": "mqtts://127.0.0.1", "mqtt_ca_cert": str(certificate)}
    standby = site.service((), free_port(), **tls)
    with FileLock(f"{site.file}.lock", timeout=0):
        standby.start(standby=True)
        certificate.rename(tmp_path / "away.pem")
    wait_for(lambda: any(text.startswith("MQTT_CA_CERT") for text in caplog.messages))
    (tmp_path / "away.pem").rename(certificate)
    standby.wait_status(lambda status: status["running"])


def test_it_logs_its_statistics_regularly_even_if_they_cannot_be_saved(
    site: PublisherSite, monkeypatch: Patch, caplog: Log
) -> None:
    monkeypatch.setattr(module, "LOG_SECONDS", 0.3)
    caplog.set_level(logging.INFO)
    saved = Path(f"{site.file}.statistics")
    saved.mkdir()
    one = site.service([entry("a")])
    site.heard.wait("t/a", 8)
    summary = "1 active configurations, "
    first, second, *_ = (each for each in caplog.records if each.message.startswith(summary))
    assert second.created - first.created == pytest.approx(0.3, abs=0.1)
    after = caplog.messages[caplog.records.index(first) + 1 :]
    assert [line.split()[0] for line in after[:3]] == ["id", "total", "a"]
    (line,) = [text for text in caplog.messages if "cannot be saved" in text]
    assert line == f"{saved}: cannot be saved: Is a directory"
    assert one.status()["running"]
