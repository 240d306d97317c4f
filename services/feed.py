"""Events for live clients, the interests of a client, and the backlog that waits for it."""

import threading
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import msgspec

MAX_WAITING = 10_000
MAX_WAITING_SIZE = 8_000_000
"""Limits of one client's backlog, in events and in characters of JSON; the oldest are dropped.

The client can request what it missed.
"""


class Interest(NamedTuple):
    """The readings of a stream and the states of its devices; of one device or of all."""

    stream: str
    device_id: str | None = None


GAP = "gap"
EVERYONE = Interest("*")
"""The interest in the events for `everyone`, whichever streams a client has subscribed to."""


class Event:
    """A committed change: a `reading`, a `command` or a `presence`; or an event for `everyone`.

    A `gap` names the readings of a device that were left out.
    """

    def __init__(
        self,
        name: str,
        device_id: str,
        payload: dict[str, Any],
        stream: str = "",
        part: str = "",
        *,
        everyone: bool = False,
        excluded: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.device_id = device_id
        self.stream = stream
        self.payload = payload
        self.everyone = everyone
        self.excluded = excluded
        """The streams whose clients get another event in place of this one, if it has no stream."""
        self.key = (name, stream, device_id, part)
        """A newer event with the same key replaces this one."""
        self._below: dict[str, Event] = {}

    @property
    def data(self) -> dict[str, Any]:
        """The payload in the form that a client gets."""
        if self.name != "reading":
            return self.payload
        return {"stream": self.stream, "data": self.payload}

    @property
    def reading_id(self) -> int | None:
        """The id of the reading; None for other events."""
        return self.payload["id"] if self.name == "reading" else None

    def replacing(self, older: "Event | None") -> "Event":
        """Return the event that replaces an unsent older one with the same key."""
        if older is None or self.name != GAP:
            return self
        first = min(older.payload["from_id"], self.payload["from_id"])
        last = max(older.payload["to_id"], self.payload["to_id"])
        return gap(self.stream, self.device_id or None, first, last, self.key[3])

    @property
    def is_of_all(self) -> bool:
        """Whether this is a gap in the readings of all devices."""
        return self.name == GAP and not self.device_id

    def below(self, root: str) -> "Event":
        """Return the event for a client that reaches the API below this path of a proxy."""
        if not root or "url" not in self.payload:
            return self
        if root not in self._below:
            payload = self.payload | {"url": root + self.payload["url"]}
            self._below[root] = Event(self.name, self.device_id, payload, self.stream, self.key[3])
        return self._below[root]

    def made(self) -> "Event":
        """Return this event with its JSON text already encoded."""
        _ = self.json
        return self

    @cached_property
    def json(self) -> str:
        """The data as JSON text, encoded once for all clients."""
        return msgspec.json.encode(self.data).decode()


def gap(stream: str, device_id: str | None, first: int, last: int, part: str = "") -> Event:
    """Return the event for unsent readings of one or all devices, from id `first` to `last`."""
    details = {"stream": stream, "device_id": device_id, "from_id": first, "to_id": last}
    return Event(GAP, device_id or "", details, stream, part)


class LiveClient(Protocol):
    """A receiver of events."""

    interests: frozenset[Interest]

    def offer(self, event: Event) -> None:
        """Accept an event without blocking."""

    def flush(self) -> bool:
        """Send the events held back; return whether some are left."""

    def close(self) -> None:
        """End the client; no more events follow."""


def wants(interests: frozenset[Interest], event: Event) -> bool:
    """Return whether an event matches one of the interests."""
    if event.everyone:
        return EVERYONE in interests
    if event.is_of_all:
        return any(interest.stream == event.stream for interest in interests)
    if event.stream:
        return not interests.isdisjoint(
            (Interest(event.stream), Interest(event.stream, event.device_id))
        )
    return any(
        interest.device_id in (None, event.device_id) and interest.stream not in event.excluded
        for interest in interests
    )


class Backlog:
    """The events waiting for one client: the newest of each key, the oldest dropped on overflow.

    All dropped readings of a stream are replaced by one gap.
    """

    def __init__(self) -> None:
        self._events: dict[tuple[str, ...], Event] = {}
        # Gaps in the readings of all devices: at most one per stream, and never dropped.
        self._gaps: dict[tuple[str, ...], Event] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._events or self._gaps)

    def put(self, event: Event) -> None:
        """Add an event; it replaces an older one with the same key."""
        if event.is_of_all:
            self._gaps[event.key] = event.replacing(self._gaps.get(event.key))
            return
        before = self._events.get(event.key)
        kept = self._events[event.key] = event.replacing(before)
        self._size += len(kept.json) - (len(before.json) if before else 0)
        while len(self._events) > MAX_WAITING or self._size > MAX_WAITING_SIZE:
            self._drop(next(iter(self._events.values())))

    def in_order(self) -> list[Event]:
        """Return the waiting events: gaps, then readings by id."""
        # A client that reconnects continues from the highest id that it has seen.
        return [
            *self._gaps.values(),
            *sorted(self._events.values(), key=lambda event: event.reading_id or 0),
        ]

    def remove(self, event: Event) -> None:
        """Remove an event."""
        if event.is_of_all:
            del self._gaps[event.key]
        else:
            self._size -= len(self._events.pop(event.key).json)

    def take_all(self) -> list[Event]:
        """Remove and return the waiting events, in order."""
        events = self.in_order()
        self._events, self._gaps, self._size = {}, {}, 0
        return events

    def _drop(self, event: Event) -> None:
        self.remove(event)
        if (left_out := _left_out(event)) is not None:
            self.put(left_out)


def _left_out(event: Event) -> Event | None:
    """Return the gap that a dropped event leaves; None for a state, which leaves none."""
    if event.name == GAP:
        return gap(event.stream, None, event.payload["from_id"], event.payload["to_id"])
    if event.reading_id is not None:
        return gap(event.stream, None, event.reading_id, event.reading_id)
    return None


class Mailbox:
    """A client that fetches its events; the newest of each key is kept until then."""

    def __init__(self, interests: Iterable[Interest]) -> None:
        self.interests = frozenset(interests)
        self.closed = False
        self._changed = threading.Condition()
        self._waiting = Backlog()

    def offer(self, event: Event) -> None:
        """Keep an event; it replaces an older one with the same key."""
        with self._changed:
            self._waiting.put(event)
            self._changed.notify()

    def flush(self) -> bool:
        """Do nothing: the client fetches its events."""
        return False

    def close(self) -> None:
        """Wake the client one last time."""
        with self._changed:
            self.closed = True
            self._changed.notify()

    def take(self, timeout: float) -> list[Event]:
        """Wait for events and return them; none after `timeout` seconds or when closed."""
        with self._changed:
            if not self._waiting and not self.closed:
                self._changed.wait(timeout)
            return self._waiting.take_all()
