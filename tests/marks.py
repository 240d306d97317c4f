"""Marks that follow from fixtures, and the proof that a test marked `pure` is.

A test that asks for a database, a broker or the backend is marked with it; one that makes its own
says so itself; any other is `pure` and must not open a database or a socket, or start a program.
"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

FIXTURES = {
    "database": {"bare_database_url", "lent_database", "own_postgres", "postgres_url", "refusing"},
    "broker": {"broker", "embedded_broker", "fast_broker", "mosquitto", "real_broker"},
    "process": {"backend"},
}
EVENTS = {
    "sqlite3.connect": "database",
    "subprocess.Popen": "process",
    "os.fork": "process",
    "os.posix_spawn": "process",
    "socket.connect": "broker",
    "socket.bind": "broker",
}
running: list[pytest.Item] = []
"""The pure test that runs, if one does."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its fixtures; the files with the longest tests come first."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for mark, fixtures in FIXTURES.items():
            if asked & fixtures:
                item.add_marker(mark)
        if not any(item.get_closest_marker(mark) for mark in FIXTURES):
            item.add_marker("pure")
    # So that at the end no process of tests is left with a long file while the others are idle.
    by_mark = {
        mark: {item.path for item in items if item.get_closest_marker(mark)}
        for mark in ("process", "broker", "database")
    }
    items.sort(key=lambda item: [item.path not in paths for paths in by_mark.values()])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Watch what a pure test does."""
    if item.get_closest_marker("pure"):
        running.append(item)
    try:
        return (yield)
    finally:
        running.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Watch no longer: after the last test, fixtures close what the tests before it opened."""
    running.clear()


def _watch(event: str, _: tuple[Any, ...]) -> None:
    if event in EVENTS and running:
        running.clear()  # the test may catch the error
        pytest.fail(f"is not pure, it raises {event}: mark it {EVENTS[event]}")


sys.addaudithook(_watch)
