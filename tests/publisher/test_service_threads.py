"""PublisherService with several threads: calls at the same time, and a disk that does not answer."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from filelock import FileLock

from publisher import service as module
from publisher import turn
from publisher.entries import PublishConfig
from publisher.loader import ConfigurationLoader
from publisher.publication import Publication
from publisher.status import PublicationStatus
from tests.publishing import Patch, PublisherSite, Service, entry, numbers, write
from tests.support import wait_for

Begun = list[Publication]


class Gate(threading.Event):
    """Where calls wait while the event is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.set()


@pytest.fixture
def loads(monkeypatch: Patch) -> Iterator[Gate]:
    """The gate of every load; while it is closed, the disk seems not to answer."""
    gate = Gate()
    load = ConfigurationLoader.load_configurations

    def slow(loader: ConfigurationLoader) -> list[PublishConfig]:
        if not gate.is_set():
            gate.reached.set()
            assert gate.wait(20)
        return load(loader)

    monkeypatch.setattr(ConfigurationLoader, "load_configurations", slow)
    yield gate
    gate.set()


@pytest.fixture
def begun(monkeypatch: Patch) -> Begun:
    """Every publication that was begun."""
    found: Begun = []

    class Counted(Publication):
        def __init__(self, *arguments: Any) -> None:
            found.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(turn, "Publication", Counted)
    return found


@pytest.fixture
def standby(site: PublisherSite, begun: Begun, loads: Gate) -> Service:
    """A standby whose turn has come, and which waits for the file."""
    first, second = site.service([entry("a")]), site.service()
    second.start(standby=True)
    loads.clear()
    first.stop()
    assert loads.reached.wait(5)
    begun.clear()
    return second


def watchers() -> int:
    """How many threads watch a file."""
    return sum(thread.name == "publisher-watch" for thread in threading.enumerate())


def test_any_thread_may_call_its_methods(site: PublisherSite) -> None:
    one = site.service([entry("a"), entry("b", lwt=True)])
    site.heard.wait("t/b", 2)
    end = time.monotonic() + 1

    def use(number: int) -> int:
        turns = 0
        while time.monotonic() < end:
            if number == 0:
                changed = entry("b", lwt=True, data={"turn": turns})
                one.write([entry("a"), changed, *[entry("c")] * (turns % 2)])
                time.sleep(0.02)
            elif number % 2:
                assert one.reload_config() is True
            else:
                assert one.get_status()["running"]
            turns += 1
        return turns

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    came = site.heard.of("t/a")
    # An entry that did not change keeps its times.
    due = numbers(came, 0.1)[-1] + 1
    assert len(came) + one.counts("a")["missed"] == pytest.approx(due, abs=1)
    one.reload([entry("a"), entry("b", lwt=True, data={"turn": "last"})])
    site.heard.wait_said("t/b", {"online": 1, "turn": "last"})
    one.wait_status(lambda status: status["connections"] == {"open": 2, "needed": 2})
    one.stop()
    assert one.published() == len(site.heard.of_schedule())


def test_of_two_reloads_at_once_the_newer_one_stays(
    site: PublisherSite, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60)
    one = site.service([entry("a")])
    site.heard.wait("t/a")
    apply, applies, newer_applied = Publication.apply, threading.Event(), threading.Event()

    def slow(publication: Publication, configs: Sequence[PublishConfig]) -> None:
        if configs[0].id == "older":
            applies.set()
            newer_applied.wait(0.5)
        apply(publication, configs)

    monkeypatch.setattr(Publication, "apply", slow)
    with ThreadPoolExecutor(1) as pool:
        write(site.file, [entry("older")])
        older = pool.submit(one.reload_config)
        assert applies.wait(5)
        write(site.file, [entry("newer")])
        assert one.reload_config()
        newer_applied.set()
        assert older.result()
    done = threading.Event()
    assert one._turn.publication is not None
    one._turn.publication.connections.call_soon(done.set)
    assert done.wait(5)
    assert [row["id"] for row in one.get_status()["configs"]] == ["newer"]


def test_two_starts_begin_one_publication(
    site: PublisherSite, monkeypatch: Patch, begun: Begun
) -> None:
    both = threading.Barrier(2)
    start = Publication.start

    def together(publication: Publication, configs: Sequence[PublishConfig]) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        start(publication, configs)

    monkeypatch.setattr(Publication, "start", together)
    one = site.service()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(one.start) for _ in range(2)]:
            done.result()
    assert (len(begun), watchers(), one.alive) == (1, 1, True)


def test_a_standby_that_is_stopped_while_it_reads_the_file_never_publishes(
    standby: Service, loads: Gate, begun: Begun
) -> None:
    assert standby.get_status()["running"] is False
    assert standby.stop_seconds() < 2
    assert standby.get_status()["running"] is False
    with FileLock(f"{standby.path}.lock", timeout=0):
        loads.set()
        wait_for(lambda: watchers() == 0, what="the thread to end")
    assert begun == []


def test_started_again_while_the_old_thread_still_reads_the_file_it_has_one_publication(
    standby: Service, loads: Gate, begun: Begun, site: PublisherSite
) -> None:
    standby.stop()
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(standby.start, standby=True)
        loads.set()
        again.result(10)
    wait_for(lambda: watchers() == 1, what="the old thread to end")
    assert (len(begun), standby.alive) == (1, True)
    site.heard.wait_more("t/a", 3)


def test_a_start_that_is_stopped_begins_nothing(
    site: PublisherSite, loads: Gate, begun: Begun
) -> None:
    one = site.service()
    loads.clear()
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(one.start)
        assert loads.reached.wait(5)
        assert one.stop_seconds() < 2
        loads.set()
        start.result(10)
    assert (begun, watchers(), one.alive) == ([], 0, False)


def test_a_load_that_hangs_delays_neither_the_status_nor_the_stop(
    site: PublisherSite, loads: Gate
) -> None:
    one = site.service([entry("a")])
    site.heard.wait("t/a", 2)
    loads.clear()
    one.write([entry("b")])
    assert loads.reached.wait(5)
    site.heard.wait_more("t/a", 3)
    assert [row["id"] for row in one.get_status()["configs"]] == ["a"]
    assert one.stop_seconds() < 2
    loads.set()
    wait_for(lambda: watchers() == 0, what="the thread to end")
    assert one.get_status()["running"] is False
    assert one.published() == len(site.heard.of("t/a")) == len(site.heard.arrivals)


def test_the_status_that_is_saved_at_the_end_is_final(
    site: PublisherSite, monkeypatch: Patch
) -> None:
    progress, saves, stopped = Publication.progress, threading.Event(), threading.Event()

    def slow(publication: Publication) -> PublicationStatus:
        found = progress(publication)
        if threading.current_thread().name == "publisher-watch":
            saves.set()
            stopped.wait(0.3)
        return found

    one = site.service([entry("a")])
    site.heard.wait("t/a", 3)
    monkeypatch.setattr(Publication, "progress", slow)
    assert saves.wait(5)
    one.stop()
    stopped.set()
    wait_for(lambda: watchers() == 0, what="the thread to end")
    assert one.published() == len(site.heard.arrivals)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_another_publication_follows_one_that_an_error_ended(
    site: PublisherSite, begun: Begun
) -> None:
    one = site.service([entry("a")])
    site.heard.wait("t/a", 3)
    before = one.published()

    def fail() -> None:
        raise RuntimeError("a fault of the program")

    begun[0].connections.call_soon(fail)
    site.heard.wait_more("t/a", 3)
    wait_for(lambda: len(begun) == 2 and one.get_status()["connected"], what="another publication")
    assert one.alive
    assert one.published() >= before + 3
