"""PublisherService and ConfigurationLoader as the document shows them, from Python."""

import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from filelock import FileLock

from config import Settings
from publisher import service as module
from publisher import turn
from publisher.entries import PublishConfig
from publisher.loader import DEFAULT_PATH, ConfigurationError, ConfigurationLoader
from publisher.publication import Publication
from publisher.service import AlreadyPublished, PublisherService
from publisher.status import PublicationStatus, PublisherStatus
from tests.publishing import Program, Subscriber, entry, numbers, statistics_of, write
from tests.support import Mosquitto, free_port, wait_for

Log = pytest.LogCaptureFixture
Make = Callable[..., PublisherService]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one entry."""
    write(tmp_path / "entries.json", [entry("a")])
    return tmp_path / "entries.json"


@pytest.fixture
def service(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Make]:
    """Makes services of the file, which look after it twenty times a second."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.1)
    made: list[PublisherService] = []

    def make(start: bool = False) -> PublisherService:
        place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port)
        made.append(PublisherService(place, file))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    with Subscriber(mosquitto.port) as subscriber:
        yield subscriber


def published(service: PublisherService) -> int:
    """How many messages its status tells of."""
    return service.get_status()["statistics"]["total_published"]


def connected(service: PublisherService) -> PublisherStatus:
    """Wait until its status tells of a connection; the status."""
    wait_for(lambda: service.get_status()["connected"], what="the connection")
    return service.get_status()


def test_it_runs_as_documented(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with JSON/payloadStaticConfig.json, and a broker that the environment names."""
    DEFAULT_PATH.parent.mkdir()
    write(DEFAULT_PATH, [entry(name) for name in "abcd"])
    monkeypatch.setenv("MQTT_BROKER", "127.0.0.1")
    monkeypatch.setenv("MQTT_PORT", str(mosquitto.port))
    assert len(ConfigurationLoader("JSON/payloadStaticConfig.json").load_configurations()) == 4
    service = PublisherService()
    service.start()
    wait_for(lambda: published(service) > 0, what="a message")
    status = connected(service)
    assert status["active_configs"] == 4
    assert status["statistics"]["total_errors"] == 0
    assert 0 < status["statistics"]["uptime_seconds"] < 20
    assert service.reload_config() is True
    service.stop()
    assert service.get_status()["connected"] is False


def test_its_status_tells_all(
    service: Make, file: Path, heard: Subscriber, mosquitto: Mosquitto
) -> None:
    write(file, [entry("a"), entry("b", lwt=True), entry("c", interval=0)])
    one = service(start=True)
    heard.wait("t/b", 3)
    status = connected(one)
    assert (status["running"], status["problem"]) == (True, None)
    assert status["broker"] == f"mqtt://127.0.0.1:{mosquitto.port}"
    assert status["config"] == str(file)
    assert status["connections"] == {"open": 2, "needed": 2}
    assert status["active_configs"] == 2
    assert [fault.split(":")[0] for fault in status["faults"]] == ['entry 2 (id "c")']
    rows, total = status["configs"], status["statistics"]
    told = [(row["id"], row["topic"], row["connected"]) for row in rows]
    assert told == [("a", "t/a", True), ("b", "t/b", True)]
    assert total["total_published"] == sum(row["published"] for row in rows) > 3
    assert total["total_acknowledged"] == sum(row["acknowledged"] for row in rows) > 3
    assert (total["total_failed"], total["total_missed"]) == (0, 0)
    assert total["last_published_at"] == max(row["last_published_at"] or "" for row in rows)
    assert json.loads(json.dumps(status)) == status


def test_a_file_or_a_folder_that_cannot_be_used_stops_the_start_and_keeps_nobody_else_from_it(
    service: Make, file: Path
) -> None:
    lock = Path(f"{file}.lock")
    lock.mkdir()
    one, other = service(), service()
    with pytest.raises(ConfigurationError, match=r"entries\.json\.lock: cannot be written"):
        one.start()
    lock.rmdir()
    file.write_text("[{")
    with pytest.raises(ConfigurationError, match=r"entries\.json: line 1, column 3: not JSON"):
        one.start()
    assert not one.alive
    write(file, [entry("a")])
    other.start()
    assert other.alive


def test_only_one_publishes_a_file(service: Make, heard: Subscriber) -> None:
    one, other = service(start=True), service()
    told = r"entries\.json: another process publishes it already"
    with pytest.raises(AlreadyPublished, match=told):
        other.start()
    heard.wait("t/a", 5)
    one.stop()
    assert published(one) == len(heard.arrivals)
    other.start()
    heard.wait_more("t/a", 3)


def test_it_can_be_stopped_twice_or_before_it_started_and_started_again(
    service: Make, heard: Subscriber
) -> None:
    one = service()
    one.stop()
    for _ in range(3):
        one.start()
        one.start()
        came = heard.wait_more("t/a", 6)
        assert came[5].time - came[0].time == pytest.approx(0.5, abs=0.05), "it publishes once"
        one.stop()
        one.stop()
        before = len(heard.arrivals)
        assert not one.alive
        assert published(one) == before
    status = one.get_status()
    assert (status["running"], status["connections"]["open"]) == (False, 0)


def test_a_standby_takes_over_when_the_first_one_stops(service: Make, heard: Subscriber) -> None:
    first, second = service(start=True), service()
    second.start(standby=True)
    came = heard.wait("t/a", 11)
    assert came[10].time - came[0].time == pytest.approx(1.0, abs=0.05)
    assert second.alive
    assert connected(second)["configs"][0]["published"] > 0
    first.stop()
    before = len(heard.arrivals)
    heard.wait_more("t/a", 3)
    second.stop()
    assert published(second) == len(heard.arrivals) > before


@pytest.mark.process
def test_a_standby_takes_over_from_a_process_that_is_killed(
    tmp_path: Path, service: Make, file: Path, mosquitto: Mosquitto, heard: Subscriber
) -> None:
    write(file, [entry("a"), entry("b", lwt=True)])
    with Program(tmp_path, mosquitto.port, file.read_bytes()) as program:
        standby = service()
        standby.start(standby=True)
        heard.wait("t/b", 3)
        program.wait_status(lambda status: status["connected"])
        assert standby.get_status()["running"]
        program.stop(signal.SIGKILL)
        killed = time.monotonic()
        heard.wait_said("t/b", {"online": 0, "of": "b"})
        online = heard.wait_since(killed, "t/b", 1, {"online": 1})
        assert online[0].time - killed < 2
        heard.wait_more("t/a", 2)
    with Program(tmp_path, mosquitto.port, file.read_bytes()) as program:
        assert program.ended == 2, "the standby publishes it"


def test_a_standby_checks_the_file_on_a_reload_and_takes_nothing_over_when_it_is_stopped(
    service: Make, file: Path, heard: Subscriber
) -> None:
    first, second = service(start=True), service()
    second.start(standby=True)
    heard.wait("t/a", 2)
    file.write_text("[")
    assert second.reload_config() is False
    write(file, [entry("a"), entry("b")])
    assert second.reload_config() is True
    came = heard.wait("t/b", 6)
    assert came[5].time - came[0].time == pytest.approx(0.5, abs=0.05)
    second.stop()
    first.stop()
    third = service(start=True)
    assert (third.alive, second.alive) == (True, False)


def test_any_thread_may_call_its_methods(service: Make, file: Path, heard: Subscriber) -> None:
    write(file, [entry("a"), entry("b", lwt=True)])
    one = service(start=True)
    heard.wait("t/b", 2)
    end = time.monotonic() + 1.5

    def use(number: int) -> int:
        turns = 0
        while time.monotonic() < end:
            if number == 0:
                changed = entry("b", lwt=True, data={"turn": turns})
                write(file, [entry("a"), changed, *[entry("c")] * (turns % 2)])
                time.sleep(0.02)
            elif number % 2:
                assert one.reload_config() is True
            else:
                assert one.get_status()["running"]
            turns += 1
        return turns

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    came = heard.of("t/a")
    missed = next(row["missed"] for row in one.get_status()["configs"] if row["id"] == "a")
    # Who did not change keeps its times.
    assert len(came) + missed == pytest.approx(numbers(came, 0.1)[-1] + 1, abs=1)
    write(file, [entry("a"), entry("b", lwt=True, data={"turn": "last"})])
    assert one.reload_config()
    heard.wait_said("t/b", {"online": 1, "turn": "last"})
    needed = {"open": 2, "needed": 2}
    wait_for(lambda: one.get_status()["connections"] == needed, what="the connections it needs")
    one.stop()
    assert published(one) == len(heard.of_schedule())


class Hold(threading.Event):
    """Where calls are held up until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.set()

    def pass_through(self) -> None:
        if not self.is_set():
            self.reached.set()
            assert self.wait(20)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hold]:
    """What every load passes through, as if the disk did not answer while it is closed."""
    hold = Hold()
    load = ConfigurationLoader.load_configurations

    def slow(loader: ConfigurationLoader) -> list[PublishConfig]:
        hold.pass_through()
        return load(loader)

    monkeypatch.setattr(ConfigurationLoader, "load_configurations", slow)
    yield hold
    hold.set()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Publication]:
    """Every publication that was begun."""
    found: list[Publication] = []

    class Counted(Publication):
        def __init__(self, *arguments: Any) -> None:
            found.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(turn, "Publication", Counted)
    return found


def watchers() -> int:
    """How many threads look after a service."""
    return sum(thread.name == "publisher-watch" for thread in threading.enumerate())


def wait_for_watchers(count: int) -> None:
    wait_for(lambda: watchers() == count, 5, f"{count} threads that look after a service")


def standby_that_hangs(service: Make, loads: Hold) -> PublisherService:
    """A standby whose turn it is, and which cannot read the file."""
    first, second = service(start=True), service()
    second.start(standby=True)
    loads.clear()
    first.stop()
    assert loads.reached.wait(5)
    return second


def stopped_in_time(service: PublisherService) -> bool:
    """Stop it; whether that took no longer than it may."""
    began = time.monotonic()
    service.stop()
    return time.monotonic() - began < 2


def test_of_two_reloads_at_once_the_newer_configuration_stays(
    service: Make, file: Path, heard: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60)
    one = service(start=True)
    heard.wait("t/a")
    apply, applies, newer_applied = Publication.apply, threading.Event(), threading.Event()

    def slow(publication: Publication, configs: Sequence[PublishConfig]) -> None:
        if configs[0].id == "older":
            applies.set()
            newer_applied.wait(0.5)
        apply(publication, configs)

    monkeypatch.setattr(Publication, "apply", slow)
    with ThreadPoolExecutor(1) as pool:
        write(file, [entry("older")])
        older = pool.submit(one.reload_config)
        assert applies.wait(5)
        write(file, [entry("newer")])
        assert one.reload_config()
        newer_applied.set()
        assert older.result()
    done = threading.Event()
    assert one._turn.publication is not None
    one._turn.publication.connections.call_soon(done.set)
    assert done.wait(5)
    assert [row["id"] for row in one.get_status()["configs"]] == ["newer"]


def test_two_threads_that_start_it_begin_one_publication(
    service: Make, monkeypatch: pytest.MonkeyPatch, begun: list[Publication]
) -> None:
    both = threading.Barrier(2)
    start = Publication.start

    def together(publication: Publication, configs: Sequence[PublishConfig]) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        start(publication, configs)

    monkeypatch.setattr(Publication, "start", together)
    one = service()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(one.start) for _ in range(2)]:
            done.result()
    assert (len(begun), watchers()) == (1, 1)
    assert one.alive


def test_a_standby_that_is_stopped_while_it_reads_the_file_leaves_the_turn_and_never_publishes(
    service: Make, loads: Hold, begun: list[Publication]
) -> None:
    standby = standby_that_hangs(service, loads)
    assert standby.get_status()["running"] is False
    assert stopped_in_time(standby)
    assert standby.get_status()["running"] is False
    with FileLock(f"{standby.path}.lock", timeout=0):
        loads.set()
        wait_for_watchers(0)
    assert len(begun) == 1, "that of the first one"


def test_started_again_while_the_old_thread_still_reads_the_file_it_has_one_publication(
    service: Make, loads: Hold, begun: list[Publication], heard: Subscriber
) -> None:
    standby = standby_that_hangs(service, loads)
    standby.stop()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(standby.start, standby=True)
        loads.set()
        again.result(10)
    wait_for_watchers(1)
    assert len(begun) == 2, "that of the first one, and one more"
    assert standby.alive
    heard.wait_more("t/a", 3)


def test_a_start_that_is_stopped_while_it_reads_the_file_begins_nothing(
    service: Make, loads: Hold, begun: list[Publication]
) -> None:
    one = service()
    loads.clear()
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(one.start)
        assert loads.reached.wait(5)
        assert stopped_in_time(one)
        loads.set()
        start.result(10)
    assert (begun, watchers(), one.alive) == ([], 0, False)


def test_a_load_that_hangs_holds_up_neither_the_status_nor_the_stop(
    service: Make, file: Path, loads: Hold, heard: Subscriber
) -> None:
    one = service(start=True)
    heard.wait("t/a", 2)
    loads.clear()
    write(file, [entry("b")])
    assert loads.reached.wait(5)
    heard.wait_more("t/a", 3)
    assert [row["id"] for row in one.get_status()["configs"]] == ["a"]
    assert stopped_in_time(one)
    loads.set()
    wait_for_watchers(0)
    assert one.get_status()["running"] is False
    assert published(one) == len(heard.of("t/a")) == len(heard.arrivals)


def test_what_is_saved_at_the_end_is_the_last_word(
    service: Make, heard: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress, saves, stopped = Publication.progress, threading.Event(), threading.Event()

    def slow(publication: Publication) -> PublicationStatus:
        found = progress(publication)
        if threading.current_thread().name == "publisher-watch":
            saves.set()
            stopped.wait(1)
        return found

    one = service(start=True)
    heard.wait("t/a", 3)
    monkeypatch.setattr(Publication, "progress", slow)
    assert saves.wait(5)
    one.stop()
    stopped.set()
    wait_for_watchers(0)
    assert published(one) == len(heard.arrivals)


def test_it_logs_its_statistics_from_time_to_time(
    service: Make, heard: Subscriber, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    monkeypatch.setattr(module, "LOG_SECONDS", 0.3)
    caplog.set_level(logging.INFO)
    service(start=True)
    heard.wait("t/a", 8)
    summary = "1 active configurations, "
    first, second, *_ = (each for each in caplog.records if each.message.startswith(summary))
    assert second.created - first.created == pytest.approx(0.3, abs=0.1)
    after = caplog.messages[caplog.records.index(first) + 1 :]
    assert [line.split()[0] for line in after[:3]] == ["id", "total", "a"]


def test_statistics_that_cannot_be_saved_are_told_and_stop_nothing(
    service: Make, file: Path, heard: Subscriber, caplog: Log
) -> None:
    statistics_of(file).mkdir()
    one = service(start=True)
    heard.wait("t/a", 5)
    wait_for(lambda: "cannot be saved: Is a directory" in caplog.text, what="the line")
    heard.wait_more("t/a", 5)
    assert len([text for text in caplog.messages if "cannot be saved" in text]) == 1
    assert one.get_status()["running"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_publication_that_an_error_ended_is_followed_by_another_which_counts_on(
    service: Make, heard: Subscriber, begun: list[Publication]
) -> None:
    one = service(start=True)
    heard.wait("t/a", 3)
    before = published(one)

    def fail() -> None:
        raise RuntimeError("a fault of the program")

    begun[0].connections.call_soon(fail)
    heard.wait_more("t/a", 3)
    wait_for(lambda: len(begun) == 2 and one.get_status()["connected"], what="another publication")
    assert one.alive
    assert published(one) >= before + 3


@pytest.mark.broker
def test_a_standby_survives_a_certificate_that_is_away_when_its_turn_comes(
    settings: Callable[..., Settings], tmp_path: Path, file: Path, caplog: Log
) -> None:
    certificate = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    broker = {"mqtt_broker": "mqtts://127.0.0.1", "mqtt_port": free_port()}
    standby = PublisherService(settings(**broker, mqtt_ca_cert=certificate), file)
    with FileLock(f"{file}.lock", timeout=0):
        standby.start(standby=True)
        certificate.rename(tmp_path / "away.pem")
    wait_for(lambda: any(text.startswith("MQTT_CA_CERT") for text in caplog.messages))
    (tmp_path / "away.pem").rename(certificate)
    wait_for(lambda: standby.get_status()["running"], what="its run")
    standby.stop()


def test_a_link_that_is_switched_to_another_file_is_a_change(
    service: Make, file: Path, tmp_path: Path, heard: Subscriber
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "entries.json", [entry(name)])
    file.unlink()
    file.symlink_to(tmp_path / "first" / "entries.json")
    other = service()
    service(start=True)
    heard.wait("t/first", 2)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "second" / "entries.json")
    link.replace(file)
    heard.wait("t/second", 2)
    assert other.get_status()["running"]
    with pytest.raises(AlreadyPublished):
        other.start()
