"""Presence for live clients: who is told what, where a device speaks in a stream and to all."""

import pytest

from broker.notifier import ChangeSet
from services.feed import Event, Interest, wants
from tests.sites import Site
from utils import clock

SENSORS, PANEL = Interest("sensors"), Interest("panel")


def told(events: list[Event], interest: Interest) -> list[tuple[str | None, bool | None]]:
    """(stream, whether it is online) of the events that a client gets."""
    wanted = [event for event in events if wants(frozenset([interest]), event)]
    return [(event.data["stream"], event.data["online"]) for event in wanted]


@pytest.mark.parametrize(
    ("said", "sensors", "panel"),
    [
        ([("", True)], [(None, True)], [(None, True)]),
        ([("panel", True)], [], [("panel", True)]),
        ([("panel", True), ("", False)], [(None, False)], [("panel", False)]),
        ([("", False), ("panel", True)], [(None, False)], [("panel", True)]),
        ([("", False), ("panel", True), ("panel", None)], [(None, False)], [("panel", False)]),
        ([("panel", True), ("panel", None)], [], [("panel", None)]),
        ([("sensors", True)], [], []),
    ],
    ids=str,
)
def test_each_client_is_told_what_counts_in_its_stream(
    said: list[tuple[str, bool | None]],
    sensors: list[tuple[str | None, bool]],
    panel: list[tuple[str | None, bool]],
    site: Site,
) -> None:
    """`sensors` declares no topic of presence, so what was once said there does not count."""
    begun, changes = clock.now(), ChangeSet()
    for stream, online in said:
        changes.add(site.presence("a", online, stream=stream))
    events = site.changes.read(changes)
    assert (told(events, SENSORS), told(events, PANEL)) == (sensors, panel)
    assert told(list(site.another().missed(SENSORS, begun)), SENSORS) == sensors
    assert told(list(site.another().missed(PANEL, begun)), PANEL) == panel


def test_a_client_of_one_device_is_not_told_of_another(site: Site) -> None:
    events = site.changes.read(site.presence("a", online=True, stream="panel"))
    assert told(events, Interest("panel", "b")) == []
    assert told(events, Interest("panel", "a")) == [("panel", True)]
